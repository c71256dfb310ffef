package dbfx

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/kelseyhightower/envconfig"

	"github.com/sergas/dbkit/dbfx/internal/dburl"
)

// LoadConfig reads the environment and validates it. Its error lists every
// fault, a line each, and shows no secret.
func LoadConfig() (Config, error) { return LoadNamedConfig("") }

// LoadNamedConfig reads the settings of the database called name, the one that
// [Named] provides: NAME_DATABASE_URL, NAME_POOL_SIZE and so on. Where to connect
// is never taken from the unprefixed variables; its default is SQLite at
// ./data/<name>.db. ENV and the logging settings are shared; the rest falls back
// to the unprefixed variable. The empty name is the default database.
func LoadNamedConfig(name string) (Config, error) {
	loaded, err := load(name)
	return loaded.config, err
}

// Setting is one setting as a person reads it.
type Setting struct {
	Variable string // the environment variable that sets it
	Value    string // *** for a secret
	Source   string // the variable that did set it, or "default"
}

// Explain returns the settings of the database called name ("" is the default
// one), secrets masked, and where each came from. It returns them also beside
// the error that LoadNamedConfig would give.
func Explain(name string) ([]Setting, error) {
	loaded, err := load(name)
	return loaded.settings, err
}

type loaded struct {
	config   Config
	settings []Setting
}

// databaseName is what a name must be like to stand in variables and paths.
var databaseName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// checkName refuses a name that cannot be a prefix and a file name.
func checkName(name string) error {
	if name != "" && !databaseName.MatchString(name) {
		return fmt.Errorf("dbfx: the name of a database: want letters, digits, _ and -, a letter first, got %q", name)
	}
	return nil
}

// prefixOf is what stands before "_" in the variables of a named database.
func prefixOf(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

func load(name string) (loaded, error) {
	out := loaded{config: DefaultConfig()}
	if err := checkName(name); err != nil {
		return out, err
	}
	prefix := prefixOf(name)
	if name != "" {
		out.config.SQLitePath = "./data/" + name + ".db"
		out.config.Name = name
	}
	common, err := environment("")
	if err != nil {
		return out, err
	}
	own, err := environment(prefix)
	if err != nil {
		return out, err
	}

	var list []error
	variables := make(map[string]string, len(settings))
	for _, s := range settings {
		variable, text := s.lookup(prefix, own, common)
		source := "default"
		variables[s.name] = variable
		if text != "" {
			source = variable
			if err := s.read(&out.config, text); err != nil {
				list = append(list, fmt.Errorf("%s: %w", variable, err))
			}
		}
		out.settings = append(out.settings, Setting{Variable: variable, Value: s.show(&out.config), Source: source})
	}
	out.showURL(variables["DATABASE_URL"])
	list = append(list, out.config.validate(func(name string) string { return variables[name] })...)
	return out, joinFaults(list)
}

// inURL are the settings that an argument of the URL overrides.
var inURL = map[string]string{
	"DATABASE_SSLMODE": "sslmode", "DATABASE_APPLICATION_NAME": "application_name", "CONNECT_TIMEOUT": "connect_timeout",
	"SQLITE_BUSY_TIMEOUT": "timeout",
}

// showURL shows what the URL sets as it is in force, and where it came from.
func (l *loaded) showURL(variable string) {
	loc, err := dburl.Parse(strings.TrimSpace(l.config.DatabaseURL.Reveal()))
	if err != nil {
		return // validate says so
	}
	for i, s := range settings {
		text, scratch := loc.Args[inURL[s.name]], l.config
		if text != "" && s.read(&scratch, text) == nil {
			l.settings[i].Value, l.settings[i].Source = s.show(&scratch), variable
		}
	}
}

// lookup returns the variable that sets s, and its text: "" when it is unset or
// blank, as compose files and Kubernetes often set variables to nothing.
func (s setting) lookup(prefix string, own, common map[string]string) (variable, text string) {
	trim := strings.TrimSpace
	if s.exact {
		trim = func(text string) string { return text }
	}
	if s.scope == shared || prefix == "" {
		return s.name, trim(common[s.name])
	}
	if text := trim(own[s.name]); text != "" || s.scope == place {
		return prefix + "_" + s.name, text
	}
	if text := trim(common[s.name]); text != "" {
		return s.name, text
	}
	return prefix + "_" + s.name, ""
}

// variable takes the text of one environment variable. It never refuses, so
// envconfig, which stops at the first fault and prints the value it could not
// convert (ParseError, v1.4.0), has nothing to say.
type variable struct{ text string }

// Decode implements envconfig.Decoder.
func (v *variable) Decode(text string) error {
	v.text = text
	return nil
}

// environment returns the text of every setting's variable under prefix.
//
// envconfig wants a struct; this one is made from the table of settings. Its
// fields are named as the variables are and have no envconfig tag: such a tag
// would add a silent fallback to the variable without the prefix.
func environment(prefix string) (map[string]string, error) {
	fields := make([]reflect.StructField, len(settings))
	for i, s := range settings {
		fields[i] = reflect.StructField{Name: s.name, Type: reflect.TypeFor[variable]()}
	}
	spec := reflect.New(reflect.StructOf(fields))
	if err := envconfig.Process(prefix, spec.Interface()); err != nil {
		return nil, errors.New("dbfx: config: the environment cannot be read") // the cause could print a value
	}
	texts := make(map[string]string, len(settings))
	for i, s := range settings {
		texts[s.name] = spec.Elem().Field(i).Interface().(variable).text
	}
	return texts, nil
}
