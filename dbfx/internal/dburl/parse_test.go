package dburl

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// flat writes a Location as the tables do: user|password|hosts|database|args.
func flat(l Location) string {
	var hosts []string
	for _, h := range l.Hosts {
		text := h.Name
		if h.Port != 0 {
			text += ":" + strconv.Itoa(h.Port)
		}
		hosts = append(hosts, text)
	}
	if l.Dialect == SQLite {
		return "sqlite|" + l.Path + "|" + l.Unknown + l.Args["timeout"]
	}
	args, _ := json.Marshal(l.Args)
	return strings.Join([]string{l.User, l.Password, strings.Join(hosts, ","), l.Database, string(args)}, "|")
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct{ give, want string }{
		{"postgresql://ada:lovelace@db.internal:6432/tokens", `ada|lovelace|db.internal:6432|tokens|{}`},
		{"postgres://ada@db/tokens", `ada||db|tokens|{}`},
		{"POSTGRESQL+asyncpg://ada:x@db/tokens", `ada|x|db|tokens|{}`},
		{"postgresql+psycopg2://ada:x@db/tokens?sslmode=require", `ada|x|db|tokens|{"sslmode":"require"}`},
		{"postgresql+pg8000:///tokens", `|||tokens|{}`},
		{"postgresql://ada:a%2Fb%40c%3A%25@db/t", `ada|a/b@c:%|db|t|{}`},
		{"postgresql://ada:a/b?c@db/t", `ada|a/b?c|db|t|{}`},
		{"postgresql://ada:50%@db/t", `ada|50%|db|t|{}`},
		{"postgresql://ada@corp:x@db/t", `ada@corp|x|db|t|{}`},
		{"postgresql://ada:x@[2001:db8::7]:5433/t", `ada|x|2001:db8::7:5433|t|{}`},
		{"postgresql://ada:x@one:1,two:2,[::3]:3/t", `ada|x|one:1,two:2,::3:3|t|{}`},
		{"postgresql://ada:x@/t?host=/var/run/pg&port=5433", `ada|x|/var/run/pg:5433|t|{}`},
		{"postgresql://ada:x@%2Fvar%2Frun%2Fpg/t", `ada|x|/var/run/pg|t|{}`},
		{"postgresql://ada:x@/t?host=one:1&host=two:2", `ada|x|one:1,two:2|t|{}`},
		{"postgresql://ada:x@/t?host=one,two&port=1,2", `ada|x|one:1,two:2|t|{}`},
		{"postgresql://db/t?user=ada&password=x", `ada|x|db|t|{}`},
		{"postgresql://db/t?ssl=true", `||db|t|{"sslmode":"require"}`},
		{"postgresql://db/t?ssl=", `||db|t|{}`},
		{"postgresql://db/t?timeout=2.5&command_timeout=1.5", `||db|t|{"connect_timeout":"3","options":"-c statement_timeout=1500"}`},
		{"postgresql://db/t?application_name=my+app%21", `||db|t|{"application_name":"my app!"}`},
		{`postgresql://db/t?server_settings={"jit":"off","search_path":"a, b"}`, `||db|t|{"options":"-c jit=off -c search_path=a,\\ b"}`},
		{"postgresql://db/t?prepared_statement_cache_size=0", `||db|t|{"default_query_exec_mode":"exec"}`},
		{"postgresql://db/t?gssencmode=disable&client_encoding=UTF8&load_balance_hosts=random", `||db|t|{"load_balance_hosts":"random"}`},
		{"postgresql://db/t?keepalives=1&keepalives_idle=30&tcp_user_timeout=5000", `||db|t|{"keepalives":"1","keepalives_idle":"30","tcp_user_timeout":"5000"}`},
		{"sqlite://", `sqlite|:memory:|`},
		{"sqlite:///", `sqlite|:memory:|`},
		{"sqlite:///:memory:", `sqlite|:memory:|`},
		{"sqlite+aiosqlite:///./data/a.db", `sqlite|./data/a.db|`},
		{"sqlite+pysqlite:////var/lib/a.db", `sqlite|/var/lib/a.db|`},
		{"sqlite:///my%20file%3F.db?check_same_thread=false", `sqlite|my file?.db|`},
		{"sqlite:///file:shared?mode=memory&cache=shared&uri=true", `sqlite|:memory:|`},
		{"sqlite:///a.db?timeout=30&check_same_thread=False&uri=true", `sqlite|a.db|30`},
		{"sqlite:///a.db?timeout=0", `sqlite|a.db|0`},
		{"sqlite:///a.db?timeout=2.50&timeout=2.5", `sqlite|a.db|2.5`},
		{"sqlite:///a.db?timeout=", `sqlite|a.db|`},
		{"mysql://ada:x@db/t?a=b", `sqlite||mysql`},
		{"oracle+cx://ada:x@db/t", `sqlite||oracle+cx`},
	}
	for _, tt := range tests {
		t.Run(tt.give, func(t *testing.T) {
			t.Parallel()
			loc, err := Parse(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if got := flat(loc); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// marker is the password of every refused URL; no error may hold a part of it.
const marker = "hunter2"

func TestParse_RefusesWithoutShowingThePassword(t *testing.T) {
	t.Parallel()
	tests := []struct{ give, wantIn string }{
		{"postgresql://u:hunter2@rest@h/db", "ambiguous"},
		{"postgresql://u:12/hunter2@h/db", "ambiguous"},
		{"postgresql://u:p@h/hunter2@h2/db", "ambiguous"},
		{"postgresql://u:hunter2@h:0/db", "port"},
		{"postgresql://u:hunter2@h:65536/db", "port"},
		{"postgresql://u:hunter2@h:abc/db", "port"},
		{"postgresql+asyncpg://u:hunter2@h:/db", "port"},
		{"postgresql://u:hunter2@[::1/db", "IPv6"},
		{"postgresql://u:hunter2@[]/db", "IPv6"},
		{"postgresql://u:hunter2@::1/db", "IPv6"},
		{"postgresql://u:hunter2@a,,b/db", "comma"},
		{"postgresql://u:hunter2@h%zz/db", "percent"},
		{"postgresql://u:hunter2%00@h/db", "NUL"},
		{"postgresql://u:hunter2@h/db?ssl=require&sslmode=disable", "conflict"},
		{"postgresql://u:hunter2@h/db?sslmode=Require", "sslmode"},
		{"postgresql://u:hunter2@h/db?nonsense=1", "nonsense"},
		{"postgresql://u:hunter2@h/db?service=x", "service"},
		{"postgresql://u:hunter2@h/db?passfile=/etc/passwd", "passfile"},
		{"postgresql://u:hunter2@h/db?client_encoding=latin1", "client_encoding"},
		{"postgresql://u:hunter2@h/db?statement_cache_size=many", "statement_cache_size"},
		{"postgresql://u:hunter2@h/db?timeout=-1", "timeout"},
		{"postgresql://u:hunter2@h/db?zzz", "="},
		{"postgresql://u:hunter2@/db?host=a:1&host=b:2&port=3", "both"},
		{"postgresql://u:hunter2@/db?host=a,b&port=1,2,3", "ports"},
		{"postgresql://u:hunter2@/db?host=a,b&host=c", "both"},
		{"postgresql+asyncpg://u:hunter2@/db?host=a&host=b", "port"},
		{"postgresql+asyncpg:u:hunter2@h/db", "scheme"},
		{"DATABASE_URL=postgresql://u:hunter2@h/db", "scheme"},
		{`"postgresql://u:hunter2@h/db"`, "quotes"},
		{"hunter2", "scheme"},
		{"", "scheme"},
		{"sqlite://hunter2.db", "sqlite:///"},
		{"sqlite:///a.db?hunter3=1", "SQLITE_"},
		{"sqlite:///a.db?timeout=hunter2", "timeout"},
		{"sqlite:///a.db?timeout=-1", "timeout"},
		{"sqlite:///a.db?timeout=NaN", "timeout"},
		{"sqlite:///a.db?timeout=1&timeout=2", "twice"},
		{"sqlite:///a.db?check_same_thread=hunter2", "check_same_thread"},
		{"sqlite:///a.db?mode=ro", "mode"},
	}
	for _, tt := range tests {
		t.Run(tt.give, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(tt.give)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
				if strings.Contains(text, marker) {
					t.Errorf("shows the password: %s", text)
				}
			}
			if !strings.Contains(err.Error(), tt.wantIn) {
				t.Errorf("got %q, want %q in it", err, tt.wantIn)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"postgresql+asyncpg://u:p@h/db?ssl=require", "postgresql://u:pa/ss@h:6432/db", "postgresql://u:p@a:1,b:2/db",
		"postgresql://u:p@/db?host=a:1&host=b:2", "postgres://%2Fvar%2Frun/db", "sqlite:///a%3Fb.db", "sqlite://", "sqlite:///a?timeout=1e-7",
		"postgresql://u:p@ss@h/db", `postgresql://h/d?server_settings={"a":"b c"}`, "postgresql://[::1]:1/d?options=-c+a%3Db",
		"sqlite:/// \u0085", "postgresql:///?host=,&port=,", "postgresql://:1", "postgresql://u@h?port=1&host=[::1]", "postgres://:", "postgres://?host=,00&host=0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		loc, err := Parse(text)
		if err != nil || loc.Unknown != "" {
			return
		}
		whole := loc.URL()
		if loc.Dialect == Postgres {
			whole = loc.render("postgres://", loc.hostArgs(), loc.Args)
		}
		again, err := Parse(strings.TrimSpace(whole))
		if err != nil {
			t.Fatalf("%q was accepted, its rendering %q is not: %v", text, whole, err)
		}
		if !reflect.DeepEqual(loc, again) {
			t.Errorf("%q: parsed as\n%#v, and after rendering as\n%#v", text, loc, again)
		}
	})
}
