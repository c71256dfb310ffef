package sqlite

import (
	"strings"
	"sync"
)

// need is what a text asks of the connection that it runs on.
type need byte

// The needs, each above the one before.
const (
	needRead  need = iota // any connection
	needOwn               // one with every pragma of the handle that no one else has: it may be changed
	needWrite             // the one that writes, and the write queue
)

// plan is what is known of a text. It does not change once it is judged.
type plan struct {
	query   string
	word    string // the first, in capitals
	params  int    // positional parameters
	counted bool   // whether params is known

	need    need
	judged  bool // need is known for all of the text
	at      int  // where the statements begin that SQLite must be asked of
	single  bool // SQLite prepares it as one statement
	pragma  bool // a PRAGMA is among its statements
	changes bool // it leaves a setting, a database or a table on its connection
	creates bool // it may make a temporary table: SQLite is asked
}

// newPlan reads what words tell.
func newPlan(query string) *plan {
	p := &plan{query: query}
	p.params, p.counted = parameters(query)
	p.word, _ = wordAt(query, firstStatement(query, 0))
	p.scan()
	return p
}

// scan reads statements from p.at on for as long as their words tell what they
// are.
//
// SQLite cannot be asked about these: it says of BEGIN, COMMIT, SAVEPOINT, ATTACH
// and most PRAGMAs that they only read, and to prepare a PRAGMA is to run it.
func (p *plan) scan() {
	for {
		begin := firstStatement(p.query, p.at)
		if begin == len(p.query) {
			p.judged = true
			return
		}
		word, end := wordAt(p.query, begin)
		if !p.tell(word, end) {
			return
		}
		p.at = endOfStatement(p.query, end)
	}
}

// tell reports whether the statement of this word, which ends at end, is one
// that words tell, and notes what it needs.
func (p *plan) tell(word string, end int) bool {
	if word == "EXPLAIN" { // a PRAGMA is run as it is prepared, also where it is only explained
		if word, end = nextWord(p.query, end); word == "QUERY" {
			_, end = nextWord(p.query, end) // PLAN
			word, end = nextWord(p.query, end)
		}
		if word != "PRAGMA" {
			return false
		}
	}
	switch word {
	case "PRAGMA":
		p.pragma = true
		p.tellPragma(pragmaAt(p.query, end))
	case "BEGIN":
		p.require(needOwn)
		if mode, _ := nextWord(p.query, end); mode == "IMMEDIATE" || mode == "EXCLUSIVE" {
			p.require(needWrite)
		}
	case "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE":
		p.require(needOwn)
	case "ATTACH", "DETACH":
		p.changes = true
		p.require(needOwn)
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "VACUUM", "REINDEX", "ANALYZE":
		// Of DROP TABLE IF EXISTS SQLite says that it reads, while there is no such
		// table. Where the statement ends SQLite must say: it may be a trigger.
		p.require(needWrite)
		return false
	default:
		return false
	}
	return true
}

func (p *plan) require(n need) { p.need = max(p.need, n) }

// filePragmas change the file, or work on it; the others with a value change the
// connection.
var filePragmas = map[string]struct {
	bare  bool // also without a value
	stays bool // the connection is changed too
}{
	"application_id": {}, "user_version": {}, "schema_version": {stays: true}, "auto_vacuum": {}, "encoding": {}, "page_size": {},
	"journal_mode": {stays: true}, "incremental_vacuum": {bare: true}, "optimize": {bare: true}, "wal_checkpoint": {bare: true},
}

// askingPragmas only ask, also with a value.
var askingPragmas = map[string]bool{
	"table_info": true, "table_xinfo": true, "table_list": true, "index_info": true, "index_xinfo": true, "index_list": true,
	"foreign_key_list": true, "foreign_key_check": true, "integrity_check": true, "quick_check": true, "database_list": true,
	"collation_list": true, "function_list": true, "module_list": true, "pragma_list": true, "compile_options": true,
	"data_version": true, "page_count": true, "freelist_count": true,
}

func (p *plan) tellPragma(name string, value bool) {
	if askingPragmas[name] {
		return
	}
	p.require(needOwn)
	file, ok := filePragmas[name]
	switch {
	case ok && (value || file.bare):
		p.require(needWrite)
		p.changes = p.changes || file.stays
	case value:
		p.changes = true
	}
}

// alone reports whether the text is one statement.
func (p *plan) alone() bool {
	first := endOfStatement(p.query, firstStatement(p.query, 0))
	return firstStatement(p.query, first) == len(p.query)
}

// lookOn is what remains of a text of several statements once one of them writes:
// SQLite cannot prepare what needs the table that an earlier statement makes. A
// word too much here costs a connection that is opened anew.
func (p *plan) lookOn(rest string) {
	rest = strings.ToUpper(rest)
	p.creates = p.creates || strings.Contains(rest, "CREATE")
	p.pragma = p.pragma || strings.Contains(rest, "PRAGMA")
	p.changes = p.changes || strings.Contains(rest, "PRAGMA") || strings.Contains(rest, "ATTACH")
}

// keeps reports whether a prepared statement of the text is worth keeping.
func (p *plan) keeps() bool {
	if !p.single || len(p.query) > longestKept {
		return false
	}
	switch p.word {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "":
		return true
	}
	return false
}

// longestKept is the longest SQL that is worth keeping: longer ones are generated,
// and differ each time.
const longestKept = 8 << 10

// plans keeps what is known of texts, for all connections of a database.
type plans struct {
	mu    sync.RWMutex
	known map[string]*plan
	bytes int
}

// mostPlans bounds the texts that are known, in bytes. When they are more, all are
// forgotten: what is used is soon known again, for one statement prepared twice.
const mostPlans = 2 << 20

func (k *plans) find(query string) *plan {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.known[query]
}

// add keeps p, which nobody else knows yet.
func (k *plans) add(p *plan) {
	if len(p.query) > longestKept {
		return
	}
	// A text may be a piece of a large one, which would be kept whole.
	p.query, p.word = strings.Clone(p.query), strings.Clone(p.word)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || k.bytes > mostPlans {
		k.known, k.bytes = map[string]*plan{}, 0
	}
	k.known[p.query] = p
	k.bytes += len(p.query) + 150
}
