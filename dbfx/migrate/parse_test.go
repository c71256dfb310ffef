package migrate

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

// gooseRuns returns what goose sends of a file, in one direction.
func gooseRuns(text string, up bool) ([]string, error) {
	r := &recorder{}
	db := sql.OpenDB(r)
	defer func() { _ = db.Close() }()
	p, err := goose.NewProvider(goose.DialectCustom, db, fstest.MapFS{"00001_x.sql": {Data: []byte(text)}},
		goose.WithStore(recordedStore{up: up}), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, err
	}
	_, err = p.ApplyVersion(context.Background(), 1, up)
	return r.sent, err
}

// recorder is a database that keeps what it is sent.
type recorder struct{ sent []string }

func (r *recorder) Connect(context.Context) (driver.Conn, error) { return r, nil }
func (r *recorder) Driver() driver.Driver                        { return bridgeDriver{} }
func (r *recorder) Prepare(string) (driver.Stmt, error)          { return nil, errors.New("not prepared") }
func (r *recorder) Close() error                                 { return nil }
func (r *recorder) Begin() (driver.Tx, error)                    { return r, nil }
func (r *recorder) Commit() error                                { return nil }
func (r *recorder) Rollback() error                              { return nil }
func (r *recorder) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	r.sent = append(r.sent, query)
	return driver.RowsAffected(0), nil
}

type recordedStore struct {
	database.Store
	up bool
}

func (recordedStore) Tablename() string { return "t" }
func (recordedStore) TableExists(context.Context, database.DBTxConn) (bool, error) {
	return true, nil
}
func (recordedStore) Insert(context.Context, database.DBTxConn, database.InsertRequest) error {
	return nil
}
func (recordedStore) Delete(context.Context, database.DBTxConn, int64) error { return nil }
func (s recordedStore) GetMigration(context.Context, database.DBTxConn, int64) (*database.GetMigrationResult, error) {
	if s.up {
		return nil, database.ErrVersionNotFound
	}
	return &database.GetMigrationResult{IsApplied: true}, nil
}

// texts are small files with one difficulty each.
var difficult = []string{
	"-- +goose Up\nselect 1;\n-- +goose Down\nselect 2;\n",
	"-- +goose Up\nselect 1; -- a comment\nselect 2;\n",
	"-- +goose Up\nselect 1; select 2;\nselect\n\n  3\n;\n",
	"-- +goose Up\r\nselect 1;\r\n-- +goose Down\r\nselect 2;\r\n",
	"-- +goose Up\n-- c\n\n   \n-- c2\nselect 1;\n",
	"-- +goose Up\nselect 1;--x\nselect 2;\n",
	"-- +goose Up\nselect ';\n';\n",
	"-- +goose Up\n-- +goose StatementBegin\ncreate function f() begin; end;\n-- +goose StatementEnd\nselect 1;\n-- +goose Down\n-- +goose StatementBegin\nx;\n-- +goose StatementEnd\n",
	"-- a file\n\n-- +goose up\n-- +goose no transaction\nselect 1;\n",
	"-- +goose NO TRANSACTION\n-- +goose Up\nselect 1;\n",
	"-- +goose Up\n-- +goose ENVSUB ON\nselect 1;\n-- +goose ENVSUB OFF\nselect '$HOME';\n",
	"-- +goose Up\n", "-- +goose Up\n-- +goose Down\n", "-- +goose Up\n   \n",
	// These goose refuses.
	"", "select 1;\n", "-- +goose Up\nselect 1\n", "-- +goose Down\nselect 1;\n", "-- +goose Up\n-- +goose Up\n", "-- +goose Sideways\n",
	"-- +goose Up\n-- +goose StatementBegin\nselect 1;\n", "-- +goose Up\n-- +goose StatementEnd\n", " -- +goose Up\nselect 1;\n",
	"\uFEFF-- +goose Up\nselect 1;\n", "-- +goose Up\nselect 1\n-- +goose Down\nselect 2;\n", "-- +goose Up\n   \n-- a comment\n",
}

func checkAsGoose(t *testing.T, name, text string) {
	t.Helper()
	mine, err := parse(engine.PostgreSQL, text)
	for _, up := range []bool{true, false} {
		want, gooseErr := gooseRuns(text, up)
		if (err == nil) != (gooseErr == nil) {
			t.Errorf("%s: goose says %v, we say %v", name, gooseErr, err)
			return
		}
		if err != nil {
			continue
		}
		list := mine.down
		if up {
			list = mine.up
		}
		var got []string
		for _, s := range list {
			got = append(got, s.text)
			if first, _, _ := strings.Cut(s.text, "\n"); !strings.Contains(mine.lines[s.line-1], first) {
				t.Errorf("%s: line %d is %q, and the statement begins %q", name, s.line, mine.lines[s.line-1], first)
			}
		}
		if strings.Contains(text, "ENVSUB") {
			got, want = make([]string, len(got)), make([]string, len(want))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: goose runs %q, we read %q", name, want, got)
		}
	}
}

func TestParse_CutsAsGooseDoes(t *testing.T) {
	t.Parallel()
	for _, text := range difficult {
		checkAsGoose(t, text, text)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/pressly/goose/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".sql" || strings.Contains(path, "golden") {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			seen++
			checkAsGoose(t, path, string(text))
		}
		return err
	})
	if err != nil || seen < 20 {
		t.Errorf("read %d of goose's own files: %v", seen, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range difficult {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(engine.SQLite, text)
		if err != nil {
			return
		}
		for _, up := range []bool{true, false} {
			want, err := gooseRuns(text, up)
			if err != nil || strings.Contains(strings.ToLower(text), "envsub") {
				continue
			}
			if got := len((&migration{script: s}).statements(up)); got != len(want) {
				t.Errorf("goose runs %d statements, we read %d", len(want), got)
			}
		}
		for _, rules := range []engine.Rules{engine.SQLite, engine.PostgreSQL} {
			for _, tok := range code(rules, text) {
				if tok.text == "" && tok.kind != literal && tok.kind != quotedName {
					t.Errorf("an empty token of kind %c", tok.kind)
				}
			}
			unclosed(rules, text)
		}
	})
}

func TestCode_KnowsWhatIsNoCode(t *testing.T) {
	t.Parallel()
	both := []engine.Rules{engine.SQLite, engine.PostgreSQL}
	tests := map[string]struct {
		rules []engine.Rules
		want  string
	}{
		"drop/* table */ table x":               {both, "drop table x"},
		"select 'drop table' -- drop table":     {both, "select s:drop table"},
		`select "drop" "ta""ble"`:               {both, `select q:drop q:ta"ble`},
		"select 'it''s' y, 0ms, 12.5":           {both, "select s:it's y , 0ms , 12 . 5"},
		"select 'open":                          {both, "select s:open"},
		"CREATE Index CONCURRENTLY über on t()": {both, "create index concurrently über on t ( )"},
		"select $$drop table$$, $a$ $$ $a$ x":   {both[1:], "select s:drop table , s: $$  x"},
		"select a$1, $1":                        {both[1:], "select a$1 , $ 1"},
		"select E'it\\'s' x":                    {both[1:], "select s:it\\'s x"},
		"/* a /* b */ c */ select 1":            {both[1:], "select 1"},
		"select a[1], arr[b]":                   {both[1:], "select a [ 1 ] , arr [ b ]"},
		"select [drop], `x`":                    {both[:1], "select q:drop , q:x"},
	}
	for text, tt := range tests {
		for _, rules := range tt.rules {
			var got []string
			for _, tok := range code(rules, text) {
				switch tok.kind {
				case quotedName:
					got = append(got, "q:"+tok.text)
				case literal:
					got = append(got, "s:"+tok.text)
				default:
					got = append(got, tok.text)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s by rules %d: got %q, want %q", text, rules, strings.Join(got, " "), tt.want)
			}
		}
	}
}

func TestStep_PrefixIsThatOfTheWholeList(t *testing.T) {
	t.Parallel()
	s := &step{mig: &migration{script: script{up: []statement{{text: "a"}, {text: "b"}, {text: "c"}}}}, hash: sha256.New()}
	for s.at = 1; s.at <= 4; s.at++ {
		if got, want := s.prefix(), prefixOf(s.mig.script.up, s.at-1); got != want {
			t.Errorf("of %d statements: got %s, want %s", s.at-1, got, want)
		}
	}
}
