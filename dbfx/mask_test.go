package dbfx

import "testing"

func TestMaskPasswords(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"ALTER ROLE a PASSWORD 'hunter2'":                        "ALTER ROLE a PASSWORD '***'",
		"create user b with encrypted password 'hun''ter2' x":    "create user b with encrypted password '***' x",
		"CREATE ROLE c PASSWORD $$hunter2$$":                     "CREATE ROLE c PASSWORD '***'",
		"create user mapping for x options (password 'hunter2')": "create user mapping for x options (password '***')",
		"-- a\n alter role a password 'hunter2'":                 "-- a\n alter role a password '***'",
		"Set role.password 'hunter2'":                            "Set role.password '***'",
		"insert into t values ('password x')":                    "insert into t values ('password x')",
		"create table t (password text default 'none')":          "create table t (password text default 'none')",
	}
	for give, want := range tests {
		if got := maskPasswords(give); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
