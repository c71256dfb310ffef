package dbfx

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// postgresOf writes a location as the tables do: user|password|hosts|database|args.
func (l location) flat() string {
	var hosts []string
	for _, h := range l.hosts {
		text := h.host
		if h.port != 0 {
			text += ":" + strconv.Itoa(h.port)
		}
		hosts = append(hosts, text)
	}
	if l.dialect == SQLite {
		return "sqlite|" + l.path + "|" + l.unknown
	}
	args, _ := json.Marshal(l.args)
	return strings.Join([]string{l.user, l.password, strings.Join(hosts, ","), l.database, string(args)}, "|")
}

func TestParseURL(t *testing.T) {
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
		{" postgresql://ada:x@db/t\n", `ada|x|db|t|{}`},
		{"sqlite://", `sqlite|:memory:|`},
		{"sqlite:///", `sqlite|:memory:|`},
		{"sqlite:///:memory:", `sqlite|:memory:|`},
		{"sqlite+aiosqlite:///./data/a.db", `sqlite|./data/a.db|`},
		{"sqlite+pysqlite:////var/lib/a.db", `sqlite|/var/lib/a.db|`},
		{"sqlite:///my%20file%3F.db?check_same_thread=false", `sqlite|my file?.db|`},
		{"sqlite:///file:shared?mode=memory&cache=shared&uri=true", `sqlite|:memory:|`},
		{"mysql://ada:x@db/t?a=b", `sqlite|/default.db|mysql`},
		{"oracle+cx://ada:x@db/t", `sqlite|/default.db|oracle+cx`},
	}
	for _, tt := range tests {
		t.Run(tt.give, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.DatabaseURL, cfg.SQLitePath = NewSecret(tt.give), "/default.db"
			loc, err := cfg.location()
			if err != nil {
				t.Fatal(err)
			}
			if got := loc.flat(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// marker is the password of every refused URL; no error may hold a part of it.
const marker = "hunter2"

func TestParseURL_RefusesWithoutShowingThePassword(t *testing.T) {
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
		{"postgresql+asyncpg://u:hunter2@/db?host=a&host=b", "port"},
		{"postgresql+asyncpg:u:hunter2@h/db", "scheme"},
		{"DATABASE_URL=postgresql://u:hunter2@h/db", "scheme"},
		{`"postgresql://u:hunter2@h/db"`, "quotes"},
		{"hunter2", "scheme"},
		{"sqlite://hunter2.db", "sqlite:///"},
		{"sqlite:///a.db?hunter3=1", "SQLITE_"},
	}
	for _, tt := range tests {
		t.Run(tt.give, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.DatabaseURL = NewSecret(tt.give)
			err := cfg.Validate()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), cfg.String()} {
				if strings.Contains(text, marker) {
					t.Errorf("shows the password: %s", text)
				}
			}
			if !strings.Contains(err.Error(), tt.wantIn) || !strings.HasPrefix(err.Error(), "dbfx: config: DATABASE_URL: ") {
				t.Errorf("got %q, want DATABASE_URL and %q in it", err, tt.wantIn)
			}
		})
	}
}

func TestConfig_URLsForOtherTools(t *testing.T) {
	t.Parallel()
	tests := []struct{ give, url, async, sync string }{
		{
			"postgresql+asyncpg://ada:a%40b@db:6432/t?ssl=require&command_timeout=5",
			"postgres://ada:a%40b@db:6432/t?options=-c%20statement_timeout%3D5000&sslmode=require",
			"postgresql+asyncpg://ada:a%40b@db:6432/t?ssl=require",
			"postgresql://ada:a%40b@db:6432/t?options=-c%20statement_timeout%3D5000&sslmode=require",
		},
		{
			"postgresql://ada:x@/t?host=/run/pg",
			"postgres://ada:x@/t?host=%2Frun%2Fpg",
			"postgresql+asyncpg://ada:x@/t?host=%2Frun%2Fpg",
			"postgresql://ada:x@/t?host=%2Frun%2Fpg",
		},
		{
			"postgresql://ada:x@one,two:2/t?statement_cache_size=0",
			"postgres://ada:x@one,two:2/t?default_query_exec_mode=exec",
			"postgresql+asyncpg://ada:x@/t?host=one%3A5432&host=two%3A2&prepared_statement_cache_size=0",
			"postgresql://ada:x@one,two:2/t",
		},
		{"sqlite:///./data/a b.db", "sqlite:///./data/a b.db", "sqlite+aiosqlite:///./data/a b.db", "sqlite:///./data/a b.db"},
		{"sqlite:////var/a%3Fb%25.db", "sqlite:////var/a%3Fb%25.db", "sqlite+aiosqlite:////var/a%3Fb%25.db", "sqlite:////var/a%3Fb%25.db"},
		{"sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite:///:memory:", "sqlite:///:memory:"},
	}
	for _, tt := range tests {
		cfg := DefaultConfig()
		cfg.DatabaseURL = NewSecret(tt.give)
		for _, pair := range [][2]string{{cfg.URL(), tt.url}, {cfg.SQLAlchemyURL(true), tt.async}, {cfg.SQLAlchemyURL(false), tt.sync}} {
			if pair[0] != pair[1] {
				t.Errorf("%s:\ngot  %s\nwant %s", tt.give, pair[0], pair[1])
			}
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"postgresql+asyncpg://u:p@h/db?ssl=require", "postgresql://u:pa/ss@h:6432/db", "postgresql://u:p@a:1,b:2/db",
		"postgresql://u:p@/db?host=a:1&host=b:2", "postgres://%2Fvar%2Frun/db", "sqlite:///a%3Fb.db", "sqlite://",
		"postgresql://u:p@ss@h/db", `postgresql://h/d?server_settings={"a":"b c"}`, "postgresql://[::1]:1/d?options=-c+a%3Db",
		"sqlite:/// \u0085", "postgresql:///?host=,&port=,", "postgresql://:1", "postgresql://u@h?port=1&host=[::1]", "postgres://:",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg := DefaultConfig()
		cfg.DatabaseURL = NewSecret(text)
		loc, err := cfg.location()
		if err != nil || !loc.fromURL {
			return
		}
		cfg.DatabaseURL = NewSecret(cfg.URL())
		again, err := cfg.location()
		if err != nil {
			t.Fatalf("%q was accepted, its rendering %q is not: %v", text, cfg.URL(), err)
		}
		loc.unknown = "" // rendered as the SQLite that it means
		if !reflect.DeepEqual(loc, again) {
			t.Errorf("%q: parsed as\n%#v, and after rendering as\n%#v", text, loc, again)
		}
	})
}

// vectorReasons are the rows of the outside table that dbfx refuses or reads on
// purpose in another way, and why.
var vectorReasons = map[string]string{
	"189": `refused: an "@" in the password would put its tail into the host`,
	"197": "refused: no such port", "199": "refused: no such port",
	"211": "refused: an argument without a name",
	"219": "accepted: surrounding space is trimmed, as from a file with a secret",
	"242": "spec: an unknown scheme is SQLite, with a warning", "243": "spec: an unknown scheme is SQLite, with a warning",
	"157": "spec: an unknown scheme is SQLite, with a warning",
	"141": "refused: no host before the comma",
	"145": "refused: the port is not a number",
	"53":  "refused: the port is not a number",
	"87":  "refused: hostaddr; pgx has no such thing",
	"163": "refused: asyncpg refuses the mode too",
	"167": "refused: asyncpg refuses the size too",
}

// unknownArgument are rows whose made-up arguments are refused by name.
var unknownArgument = []string{"15", "21", "25", "27", "29", "37", "39", "41"}

func TestParseURL_OutsideVectors(t *testing.T) {
	path := os.Getenv("DBFX_URL_VECTORS")
	if path == "" {
		t.Skip("DBFX_URL_VECTORS names no file; TestParseURL has the rules")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(cells) < 10 || cells[0] == "id" {
			continue
		}
		rows++
		t.Run(cells[0], func(t *testing.T) { checkVector(t, cells) })
	}
	if rows < 100 {
		t.Errorf("got %d rows, want the whole table", rows)
	}
}

var unescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t")

func checkVector(t *testing.T, cells []string) {
	id, kind, url := cells[0], cells[1], unescape.Replace(cells[2])
	cfg := DefaultConfig()
	cfg.DatabaseURL = NewSecret(url)
	loc, err := cfg.location()
	refused := cells[9] != `\N` || kind == "dburl"
	reason, exception := vectorReasons[id]
	switch {
	case slices.Contains(unknownArgument, id):
		if err == nil || !strings.Contains(err.Error(), "unsupported argument") {
			t.Errorf("%s: got %v, want a refusal that names the argument", url, err)
		}
	case exception:
		if wantErr := strings.HasPrefix(reason, "refused"); wantErr != (err != nil) {
			t.Errorf("%s (%s): got error %v", url, reason, err)
		}
		if strings.HasPrefix(reason, "spec") && loc.unknown == "" {
			t.Errorf("%s: want SQLite for an unknown scheme, got %s", url, loc.flat())
		}
	case refused:
		if err == nil {
			t.Errorf("%s: accepted as %s, want a refusal: %s", url, loc.flat(), cells[9])
		}
	case err != nil:
		t.Errorf("%s: %v", url, err)
	default:
		compareVector(t, loc, kind, cells)
	}
}

func compareVector(t *testing.T, loc location, kind string, cells []string) {
	null := func(text string) string {
		if text == `\N` || text == `""` {
			return ""
		}
		return unescape.Replace(text)
	}
	var hosts, ports []string
	for _, h := range loc.hosts {
		hosts = append(hosts, h.host)
		port := ""
		if h.port != 0 {
			port = strconv.Itoa(h.port)
		}
		ports = append(ports, port)
	}
	got := []string{loc.user, loc.password, strings.Join(hosts, ","), strings.Join(ports, ","), loc.database}
	want := []string{null(cells[3]), null(cells[4]), null(cells[5]), null(cells[6]), null(cells[7])}
	var query map[string]any
	if err := json.Unmarshal([]byte(unescape.Replace(cells[8])), &query); err != nil {
		t.Fatal(err)
	}
	// SQLAlchemy's make_url leaves host and port in the query; what counts is where it connects.
	for i, key := range []string{"", "", "host", "port"} {
		if text, ok := query[key].(string); ok && key != "" {
			want[i] = text
		}
	}
	if strings.Trim(want[3], ",") == "" {
		want[3], got[3] = strings.Trim(want[3], ","), strings.Trim(got[3], ",")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", cells[2], got, want)
	}
	if kind == "dbfx" {
		for key, value := range query {
			if key == "_randomize_hosts" {
				key, value = "load_balance_hosts", "random"
			}
			inOptions := strings.Contains(loc.args["options"], fmt.Sprintf("-c %s=%v", key, value))
			if loc.args[key] != value && !inOptions {
				t.Errorf("%s: argument %s: got %q, want %v", cells[2], key, loc.args[key], value)
			}
		}
	}
}
