// Package schema is what ent generates from: go generate ./ent.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
)

// Person is a row of people.
type Person struct{ ent.Schema }

// Annotations implements ent.Interface.
func (Person) Annotations() []schema.Annotation {
	return []schema.Annotation{entsql.Annotation{Table: "people"}}
}

// Fields implements ent.Interface.
func (Person) Fields() []ent.Field {
	return []ent.Field{field.Int64("id"), field.String("name")}
}
