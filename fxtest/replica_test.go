package fxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// pair starts a primary and its standby, and returns the settings of a database
// on the primary.
func pair(t *testing.T) (primary, standby *fxtest.Server, cfg dbfx.Config) {
	t.Helper()
	primary = fxtest.NewServer(t)
	cfg = primary.Database(t)
	standby = primary.Standby(t)
	return primary, standby, cfg
}

func TestReplica_ViewReadsThereAndRunOnThePrimary(t *testing.T) {
	t.Parallel()
	_, standby, cfg := pair(t)
	there := cfg
	there.Port = standby.Port()
	withReplica := cfg
	withReplica.DatabaseReplicaURL = dbfx.NewSecret(there.URL())
	withReplica.DatabaseReplicaMaxLag = time.Second
	app, onStandby := fxtest.New(t, fxtest.Use(withReplica)), fxtest.New(t, fxtest.Use(there))
	if _, err := app.DB.ExecContext(t.Context(), "create table kv (k text primary key, v integer)"); err != nil {
		t.Fatal(err)
	}
	recovering := func(ctx context.Context, opts ...dbfx.SessionOption) bool {
		in, err := dbfx.ViewValue(ctx, app.Sessions, func(ctx context.Context, tx *dbfx.Session) (in bool, err error) {
			return in, tx.QueryRowContext(ctx, "select pg_is_in_recovery()").Scan(&in)
		}, opts...)
		if err != nil {
			t.Error(err)
		}
		return in
	}
	wants := func(what string, want bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); recovering(t.Context()) != want; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: View on the replica: %t", what, !want)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	wants("at first", true)
	if recovering(t.Context(), dbfx.Primary()) || recovering(dbfx.WithPrimary(t.Context())) {
		t.Error("the primary was asked for, and a replica answered")
	}
	if recovering(t.Context(), dbfx.Isolation(sql.LevelSerializable)) {
		t.Error("a standby has no serializable transactions")
	}
	// A slow machine can take the replica out of use too, but not each time.
	for round := 1; ; round++ {
		wants("before a wrong option", true)
		wantIs(t, app.Sessions.View(t.Context(), noop, dbfx.Isolation(sql.LevelLinearizable)), dbfx.ErrOptions)
		if recovering(t.Context()) {
			break
		}
		if round == 5 {
			t.Error("a wrong option took the replica out of use")
			break
		}
	}
	err := app.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		if recovering(ctx) {
			t.Error("View inside Run is on a replica")
		}
		return put(ctx, tx, "a", 1)
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := onStandby.DB.ExecContext(t.Context(), "select pg_wal_replay_pause()"); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), app.DB, "b", 1); err != nil {
		t.Fatal(err)
	}
	wants("the replay stands still", false)
	if _, err := onStandby.DB.ExecContext(t.Context(), "select pg_wal_replay_resume()"); err != nil {
		t.Fatal(err)
	}
	wants("the replay goes on", true)
	standby.Stop(t, syscall.SIGQUIT)
	if recovering(t.Context()) {
		t.Error("a stopped replica answered")
	}
	standby.Start(t)
	wants("the replica is back", true)
}

func TestFailover_KeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	primary, standby, cfg := pair(t)
	admin := fxtest.New(t, fxtest.Use(cfg))
	for _, statement := range []string{
		"create table kv (k text primary key, v integer)", "alter system set synchronous_standby_names = '*'", "select pg_reload_conf()",
	} {
		if _, err := admin.DB.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	both := cfg
	both.DatabaseURL = dbfx.NewSecret(fmt.Sprintf("postgresql://%s:%s@127.0.0.1:%d,127.0.0.1:%d/%s?sslmode=disable&target_session_attrs=read-write",
		cfg.User, cfg.Password.Reveal(), primary.Port(), standby.Port(), cfg.Name))
	both.CommitTimeout = 2 * time.Second
	app := fxtest.New(t, fxtest.Use(both))
	waitFor(t, admin, "select 'ok' from pg_stat_replication where sync_state = 'sync'")

	var stop, promoted atomic.Bool
	var mu sync.Mutex
	known := map[string]bool{} // false: unknown
	var firstWrite, promotedAt atomic.Int64
	readOnly := 0
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				key := fmt.Sprintf("%d-%d", w, i)
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				err := app.Sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error { return put(ctx, tx, key, 1) })
				cancel()
				mu.Lock()
				if err == nil || errors.Is(err, dbfx.ErrCommitUnknown) {
					known[key] = err == nil
				}
				if err != nil && promoted.Load() && contains(err.Error(), "25006") {
					readOnly++
				}
				mu.Unlock()
				if err == nil && promoted.Load() {
					firstWrite.CompareAndSwap(0, time.Now().UnixNano())
				}
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	primary.Stop(t, syscall.SIGQUIT)
	time.Sleep(300 * time.Millisecond)
	there := cfg
	there.Port = standby.Port()
	newPrimary := fxtest.New(t, fxtest.Use(there))
	if _, err := newPrimary.DB.ExecContext(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if _, err := newPrimary.DB.ExecContext(t.Context(), "alter system set synchronous_standby_names = ''"); err != nil {
		t.Fatal(err)
	}
	if _, err := newPrimary.DB.ExecContext(t.Context(), "select pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	promotedAt.Store(time.Now().UnixNano())
	promoted.Store(true)
	for deadline := time.Now().Add(30 * time.Second); firstWrite.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	if firstWrite.Load() == 0 {
		t.Fatal("nothing was written after the promotion")
	}
	there2, err := table(newPrimary)
	if err != nil {
		t.Fatal(err)
	}
	sure, unknown := 0, 0
	for key, acknowledged := range known {
		_, ok := there2[key]
		switch {
		case acknowledged && !ok:
			t.Errorf("%s was acknowledged and is gone", key)
		case acknowledged:
			sure++
		default:
			unknown++
		}
	}
	for key := range there2 {
		if _, ok := known[key]; !ok {
			t.Errorf("%s is there, and Run said that it is not", key)
		}
	}
	if readOnly > 0 {
		t.Errorf("%d writes were refused as read-only after the promotion", readOnly)
	}
	t.Logf("%d acknowledged, %d unknown, first write %s after the promotion", sure, unknown,
		time.Duration(firstWrite.Load()-promotedAt.Load()).Round(time.Millisecond))
	primary.Start(t) // the cleanup drops its database, and must not wait for a standby
	for _, statement := range []string{"alter system set synchronous_standby_names = ''", "select pg_reload_conf()"} {
		if _, err := admin.DB.ExecContext(t.Context(), statement); err != nil {
			t.Error(err)
		}
	}
}

// TestFailover_ADemotedServerIsLeft: the first host stops writing while its
// sessions stay, as after a switch-over; the second one writes.
func TestFailover_ADemotedServerIsLeft(t *testing.T) {
	t.Parallel()
	first, second, cfg := pair(t)
	there := cfg
	there.Port = second.Port()
	old, promoted := fxtest.New(t, fxtest.Use(cfg)), fxtest.New(t, fxtest.Use(there))
	both := cfg
	both.DatabaseURL = dbfx.NewSecret(fmt.Sprintf("postgresql://%s:%s@127.0.0.1:%d,127.0.0.1:%d/%s?sslmode=disable&target_session_attrs=read-write",
		cfg.User, cfg.Password.Reveal(), first.Port(), second.Port(), cfg.Name))
	bare, sessions := fxtest.New(t, fxtest.Use(both)), fxtest.New(t, fxtest.Use(both))
	port := func(app *fxtest.App) (port int) {
		if err := app.DB.QueryRowContext(t.Context(), "select inet_server_port()").Scan(&port); err != nil {
			t.Error(err)
		}
		return port
	}
	for _, app := range []*fxtest.App{bare, sessions} {
		warm(t, app, 10)
		if got := port(app); got != first.Port() {
			t.Fatalf("before: on port %d, want the first host", got)
		}
	}
	// As long as the second one reads only, no slow machine makes it the first choice.
	if _, err := promoted.DB.ExecContext(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"alter system set default_transaction_read_only = on", "select pg_reload_conf()"} {
		if _, err := old.DB.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, old, "select 'on' where current_setting('default_transaction_read_only') = 'on'")
	refused := 0
	for i := range 20 {
		if _, err := bare.DB.ExecContext(t.Context(), fmt.Sprintf("create table bare_%d (x integer)", i)); err != nil {
			refused++
		}
		err := sessions.Sessions.Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
			_, err := tx.ExecContext(ctx, fmt.Sprintf("create table session_%d (x integer)", i))
			return err
		})
		if err != nil {
			t.Error("a session met the demoted server:", err)
		}
	}
	if refused > 1 { // the one that brings the news
		t.Errorf("%d bare statements met the demoted server", refused)
	}
	for _, app := range []*fxtest.App{bare, sessions} {
		if got := port(app); got != second.Port() {
			t.Errorf("afterwards: on port %d, want the second host", got)
		}
	}
	for _, statement := range []string{"alter system reset default_transaction_read_only", "select pg_reload_conf()"} {
		if _, err := old.DB.ExecContext(context.Background(), statement); err != nil {
			t.Error(err)
		}
	}
}
