package fxtest_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// chaosTime is how long TestPostgres_Chaos goes on: DBFX_CHAOS, or three seconds.
// Each kind of fault comes once at least.
func chaosTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("DBFX_CHAOS")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal("DBFX_CHAOS:", err)
	}
	return d
}

// chaosSeed is DBFX_CHAOS_SEED, or a new one.
func chaosSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("DBFX_CHAOS_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal("DBFX_CHAOS_SEED:", err)
	}
	return seed
}

// chaos is a service under load, and a line and a server that fail.
type chaos struct {
	direct dbfx.Config // past the line and the pooler
	link   *fxtest.Link
	server *fxtest.Server // nil where it is to stay up
	pooler int            // its port, 0 is none
	db     *dbfx.Database

	last atomic.Int64 // number of a call

	mu    sync.Mutex
	calls []*chaosCall
}

// chaosCall is one call of the service, and what it was told.
type chaosCall struct {
	number int64
	kind   string
	rows   int  // that it leaves when it is committed
	vague  bool // its error says nothing about the rows: it is not of Run
	err    error
	hooks  atomic.Int32 // of AfterCommit that ran
}

// TestPostgres_Chaos breaks the line, the backends and the server of a service at
// random, and then compares what each call was told with what is there: nil is all
// of its rows, ErrCommitUnknown all or none, and any other error of Run none. A
// seed makes the same choices again, not the same moments.
func TestPostgres_Chaos(t *testing.T) {
	t.Parallel()
	before := runtime.NumGoroutine()
	t.Cleanup(func() { // when both have ended
		if after := runtime.NumGoroutine(); chaosTime(t) >= time.Minute && after > before+20 { // else others run beside it
			t.Errorf("%d goroutines, %d before", after, before)
		}
	})
	for name, pooled := range map[string]bool{"Direct": false, "BehindPgBouncer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := fxtest.NewServer(t)
			c := &chaos{direct: server.Database(t), server: server}
			cfg := c.direct
			if pooled {
				c.server = nil // stays up
				c.pooler = bouncer(t, cfg, "pool_mode = transaction")
				cfg.Port, cfg.Pooler = c.pooler, "transaction"
			}
			cfg, c.link = fxtest.Proxy(t, cfg)
			cfg.PoolSize, cfg.MaxOverflow, cfg.PoolTimeout = 6, 2, 2*time.Second
			cfg.ConnectTimeout, cfg.CommitTimeout = time.Second, 2*time.Second
			c.past(t, "create table chaos (call bigint, part integer, once boolean)")
			c.past(t, "create index on chaos (call)")
			c.past(t, "create unique index on chaos (call, part) where once")
			var err error
			if c.db, err = dbfx.Open(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			seed := chaosSeed(t)
			t.Logf("DBFX_CHAOS_SEED=%d", seed)
			c.breakAndServe(t, rand.New(rand.NewPCG(seed, 0)), chaosTime(t))
			c.judge(t)
		})
	}
}

// breakAndServe runs the workers and the faults, and closes the database in the
// middle of the load.
func (c *chaos) breakAndServe(t *testing.T, random *rand.Rand, length time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		c.link.Heal()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := c.db.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	for range 16 {
		seed := random.Uint64()
		wg.Go(func() { c.work(t, rand.New(rand.NewPCG(seed, 1))) })
	}
	faults := c.faults()
	counts := map[string]int{}
	start := time.Now()
	for round := 0; round == 0 || time.Since(start) < length; round++ {
		names := slices.Sorted(maps.Keys(faults))
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			if strings.HasPrefix(name, "server") && round%4 != 0 {
				continue
			}
			faults[name](t, random)
			c.link.Heal()
			c.reviveThePooler(t)
			counts[name]++
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		}
	}
	t.Logf("%s: %v, %d cuts at COMMIT", time.Since(start).Round(time.Second), counts, c.link.Cuts())
	if c.link.Cuts() == 0 {
		t.Error("no COMMIT was cut")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last error
	for { // the line is whole: it must work again
		err := c.db.Sessions().Run(ctx, selectOne)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Errorf("no session succeeds after the end of all faults: %v, before that %v", err, last)
			return
		}
		last = err
	}
}

// work makes calls until the database is closed.
func (c *chaos) work(t *testing.T, random *rand.Rand) {
	acts := c.acts()
	names := slices.Sorted(maps.Keys(acts))
	for {
		call := &chaosCall{number: c.last.Add(1), kind: names[random.IntN(len(names))]}
		limit := 100*time.Millisecond + time.Duration(random.IntN(2900))*time.Millisecond
		if random.IntN(20) == 0 {
			limit = time.Duration(random.IntN(5000)) * time.Microsecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		call.err = acts[call.kind](ctx, call)
		late := ctx.Err() != nil
		cancel()
		c.mu.Lock()
		c.calls = append(c.calls, call)
		c.mu.Unlock()
		switch err := call.err; {
		case err == nil:
		case errors.Is(err, dbfx.ErrClosed) || strings.Contains(err.Error(), "sql: database is closed"):
			return
		case strings.Contains(err.Error(), "driver: bad connection"):
			t.Errorf("%s: %v", call.kind, err)
		case errors.Is(err, context.Canceled) || !late && call.kind != "timeout" && err == context.DeadlineExceeded: //nolint:errorlint // bare
			t.Errorf("%s: its context goes on, but %v", call.kind, err)
		default:
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		}
	}
}

// past runs a statement past the line.
func (c *chaos) past(t *testing.T, query string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), c.direct.URL())
	if err == nil {
		_, err = conn.Exec(context.Background(), query)
		_ = conn.Close(context.Background())
	}
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
}

// judge compares what the calls were told with what is there.
func (c *chaos) judge(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), c.direct.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	c.wantNoOneElse(t, conn)
	there := map[int64]chaosRows{}
	rows, err := conn.Query(t.Context(), "select call, count(*), count(distinct part), min(part) from chaos group by call")
	if err != nil {
		t.Fatal(err)
	}
	var number int64
	var r chaosRows
	if _, err := pgx.ForEachRow(rows, []any{&number, &r.all, &r.parts, &r.least}, func() error { there[number] = r; return nil }); err != nil {
		t.Fatal(err)
	}
	var committed, unknown, failed, lies int
	classes := map[string]int{}
	for _, call := range c.calls {
		switch {
		case call.err == nil:
			committed++
		case errors.Is(call.err, dbfx.ErrCommitUnknown):
			unknown++
		default:
			failed++
		}
		classes[dbfx.ErrorClass(call.err)]++
		if lie := call.lie(there[call.number]); lie != "" {
			lies++
			t.Errorf("%s, call %d: %s; %+v of %d rows are there, %d hooks ran, it was told: %v",
				call.kind, call.number, lie, there[call.number], call.rows, call.hooks.Load(), call.err)
		}
	}
	t.Logf("%d calls: %d committed, %d failed, %d unknown, %d lies; %v", len(c.calls), committed, failed, unknown, lies, classes)
	if committed == 0 || failed == 0 {
		t.Error("either nothing worked or nothing was broken")
	}
}

// chaosRows are the rows of one call.
type chaosRows struct{ all, parts, least int }

// lie says what is untrue of what the call was told, "" if nothing is.
func (call *chaosCall) lie(r chaosRows) string {
	hooks := call.hooks.Load()
	switch {
	case r.least < 0:
		return "a scope that failed is there"
	case r.all != r.parts:
		return "a row is there twice"
	case r.all != 0 && r.all != call.rows:
		return "half of it is there"
	case call.err == nil && r.all != call.rows:
		return "what was acknowledged is lost"
	case hooks > 1 || hooks == 1 && call.err != nil:
		return "a hook ran that must not"
	case call.err != nil && r.all > 0 && !call.vague && !errors.Is(call.err, dbfx.ErrCommitUnknown):
		return "what was denied is there"
	}
	return ""
}

// wantNoOneElse waits until the service's connections are gone, those of a pooler
// idle: a COMMIT may be on its way.
func (c *chaos) wantNoOneElse(t *testing.T, conn *pgx.Conn) {
	const others = `select count(*) from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() and (state <> 'idle' or $1)`
	for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var n int
		if err := conn.QueryRow(t.Context(), others, c.server != nil).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d connections of the service are left", n)
		}
	}
}
