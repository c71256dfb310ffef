package dburl

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

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

func TestParse_OutsideVectors(t *testing.T) {
	path := os.Getenv("DBFX_URL_VECTORS")
	if path == "" {
		t.Skip("DBFX_URL_VECTORS names no file; TestParse has the rules")
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
	loc, err := Parse(strings.TrimSpace(url))
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
		if strings.HasPrefix(reason, "spec") && loc.Unknown == "" {
			t.Errorf("%s: want SQLite for an unknown scheme, got %s", url, flat(loc))
		}
	case refused:
		if err == nil {
			t.Errorf("%s: accepted as %s, want a refusal: %s", url, flat(loc), cells[9])
		}
	case err != nil:
		t.Errorf("%s: %v", url, err)
	default:
		compareVector(t, loc, kind, cells)
	}
}

func compareVector(t *testing.T, loc Location, kind string, cells []string) {
	null := func(text string) string {
		if text == `\N` || text == `""` {
			return ""
		}
		return unescape.Replace(text)
	}
	var hosts, ports []string
	for _, h := range loc.Hosts {
		hosts = append(hosts, h.Name)
		port := ""
		if h.Port != 0 {
			port = strconv.Itoa(h.Port)
		}
		ports = append(ports, port)
	}
	got := []string{loc.User, loc.Password, strings.Join(hosts, ","), strings.Join(ports, ","), loc.Database}
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
			inOptions := strings.Contains(loc.Args["options"], fmt.Sprintf("-c %s=%v", key, value))
			if loc.Args[key] != value && !inOptions {
				t.Errorf("%s: argument %s: got %q, want %v", cells[2], key, loc.Args[key], value)
			}
		}
	}
}
