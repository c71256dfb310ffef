package dbfx

import "testing"

func TestMaskPasswords(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"ALTER ROLE a PASSWORD 'hunter2'":                                          "ALTER ROLE a PASSWORD '***'",
		"create user b with encrypted password 'hun''ter2' x":                      "create user b with encrypted password '***' x",
		"CREATE ROLE c PASSWORD $$hunter2$$":                                       "CREATE ROLE c PASSWORD '***'",
		"create user mapping for x options (password 'hunter2')":                   "create user mapping for x options (password '***')",
		"-- a\n alter role a password 'hunter2'":                                   "-- a\n alter role a password '***'",
		"Set role.password 'hunter2'":                                              "Set role.password '***'",
		"insert into t values ('password x')":                                      "insert into t values ('password x')",
		"create table t (password text default 'none')":                            "create table t (password text default 'none')",
		"select 'password'":                                                        "select 'password'",
		"select 1; ALTER ROLE a PassWord 'hunter2'; select 'x'":                    "select 1; ALTER ROLE a PassWord '***'; select 'x'",
		`alter role a password E'hunter\'2' valid until 'x'`:                       `alter role a password '***' valid until 'x'`,
		"alter role a password U&'hunter2'":                                        "alter role a password U&'***'",
		"alter role a password /* new */ 'hunter2":                                 "alter role a password /* new */ '***'",
		"set role.password to 'hunter2'":                                           "set role.password to '***'",
		`alter user mapping for x options (set "password" 'hunter2', user 'b')`:    `alter user mapping for x options (set "password" '***', user 'b')`,
		"update users set password = 'hunter2' where name = 'b'":                   "update users set password = '***' where name = 'b'",
		"do $x$ begin alter role a password 'hunter2'; end $x$":                    "do $x$ begin alter role a password '***'; end $x$",
		"do $$ begin execute 'alter role a password ''hunter2'''; end $$":          "do $$ begin execute '***'; end $$",
		"create subscription s connection 'host=h password=hunter2' publication p": "create subscription s connection '***' publication p",
		"select dblink_connect('host=h password = hunter2')":                       "select dblink_connect('***')",
		`select $1, 'it''s' from t where "password" is null and p = 'y'`:           `select $1, 'it''s' from t where "password" is null and p = 'y'`,
		`insert into log values ('{"password": "hunter2"}')`:                       "insert into log values ('***')",
		"select password, 'a' from t":                                              "select password, 'a' from t",
	}
	for give, want := range tests {
		if got := maskPasswords(Postgres, give); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	const give, want = "update [it's] set password = 'hunter2'", "update [it's] set password = '***'"
	if got := maskPasswords(SQLite, give); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
