package interop

import "github.com/sergas/dbkit/interop/ent"

// entByID orders as ent's generated code wants it.
var entByID = ent.Asc("id")
