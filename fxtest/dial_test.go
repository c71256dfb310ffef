package fxtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// hosts returns cfg with these ports of this machine as its hosts.
func hosts(cfg dbfx.Config, args string, ports ...int) dbfx.Config {
	list := ""
	for i, port := range ports {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf("127.0.0.1:%d", port)
	}
	cfg.DatabaseURL = dbfx.NewSecret(fmt.Sprintf("postgresql://%s:%s@%s/%s?%s", cfg.User, cfg.Password.Reveal(), list, cfg.Name, args))
	return cfg
}

func open(t *testing.T, cfg dbfx.Config, opts ...dbfx.OpenOption) *dbfx.Database {
	t.Helper()
	db, err := dbfx.Open(t.Context(), cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return db
}

// TestDial_AFrozenFirstHostHidesNoHealthyOne: the frozen host would take all of
// CONNECT_TIMEOUT, which is longer than every deadline.
func TestDial_AFrozenFirstHostHidesNoHealthyOne(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	cfg.ConnectTimeout, cfg.StartTimeout = 10*time.Minute, time.Minute
	for _, mode := range []string{"read-write", "primary", "any&load_balance_hosts=random"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			frozen := frozenHost(t)
			db := open(t, hosts(cfg, "sslmode=disable&target_session_attrs="+mode, frozen.port, cfg.Port))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			want := int64(1)
			for range 5 {
				start := time.Now()
				if err := db.Sessions().Run(ctx, noop); err != nil {
					t.Error(err)
				}
				if time.Since(start) >= time.Second { // a healthy host as slow as that has the other tried beside it
					want++
				}
				db.Sessions().Renew() // the next one dials
			}
			if n := frozen.dials.Load(); mode != "any&load_balance_hosts=random" && n > want {
				t.Errorf("the frozen host was tried %d times, want at most %d", n, want)
			}
		})
	}
}

// TestDial_OutlivesTheRequestThatStartedIt: the requests leave one after the other,
// the one dial that they wait for goes on, and the next request has its connection.
func TestDial_OutlivesTheRequestThatStartedIt(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	slow := doorTo(t, cfg.Port)
	slow.open()
	cfg.ConnectTimeout, cfg.Port = 10*time.Minute, slow.port
	db := open(t, cfg)
	slow.shut()
	db.Sessions().Renew()
	before := slow.dials.Load()
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := db.Sessions().Run(ctx, noop)
		cancel()
		wantIs(t, err, context.DeadlineExceeded)
	}
	slow.open()
	if err := db.Sessions().Run(t.Context(), noop); err != nil {
		t.Error(err)
	}
	if n := slow.dials.Load() - before; n != 1 {
		t.Errorf("%d dials for one connection", n)
	}
}

// TestDial_EndsByItself: both hosts are frozen, and the request would wait for long.
func TestDial_EndsByItself(t *testing.T) {
	t.Parallel()
	cfg := fxtest.Postgres(t)
	first, second := doorTo(t, cfg.Port), doorTo(t, cfg.Port)
	first.open()
	second.open()
	cfg.ConnectTimeout, cfg.PoolTimeout = 500*time.Millisecond, 10*time.Minute
	cfg.StartTimeout = time.Minute // there may be a try that takes longer than one may
	db := open(t, hosts(cfg, "sslmode=disable&target_session_attrs=read-write", first.port, second.port))
	first.shut()
	second.shut()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for tried := false; !tried && !t.Failed(); { // where the machine stood still, there was no time for both
		db.Sessions().Renew()
		before := []int64{first.dials.Load(), second.dials.Load()}
		err := db.Sessions().Run(ctx, noop)
		if ctx.Err() != nil || err == nil || dbfx.ErrorClass(err) != "timeout" {
			t.Errorf("got %v (%s)", err, dbfx.ErrorClass(err))
		}
		tried = true
		for i, host := range []*door{first, second} {
			if host.dials.Load() == before[i] {
				tried = false
			} else if !contains(fmt.Sprint(err), fmt.Sprintf("127.0.0.1:%d: no answer in time", host.port)) {
				t.Errorf("got %v; it does not name %d", err, host.port)
			}
		}
	}
}

func TestDial_ARefusalNamesEachHostAndNotTLS(t *testing.T) {
	t.Parallel()
	_, standby, cfg := pair(t)
	cfg.StartTimeout = 5 * time.Second
	dead := closedPort(t)
	_, err := dbfx.Open(t.Context(), hosts(cfg, "sslmode=prefer&target_session_attrs=read-write", dead, standby.Port()))
	if err == nil || !contains(err.Error(), fmt.Sprintf("127.0.0.1:%d: connection refused", dead), fmt.Sprintf("127.0.0.1:%d: the server is in another role, target_session_attrs=read-write", standby.Port())) ||
		contains(err.Error(), "TLS") || contains(err.Error(), "sslrootcert") {
		t.Errorf("got %v", err)
	}
}

// TestDial_WhatComesAfterTheRefusalOfTLSIsTheReason: with sslmode=prefer the server has no
// TLS, and the line is cut behind that. A start that is cancelled in its second try says
// what the first one met.
func TestDial_WhatComesAfterTheRefusalOfTLSIsTheReason(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, enough := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { enough(); _ = listener.Close(); wg.Wait() })
	wg.Go(func() {
		for tries := 0; ; {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			first := make([]byte, 8)
			if _, err := io.ReadFull(conn, first); err == nil && first[3] == 8 { // it asks for TLS, as each try does first
				if tries++; tries == 2 {
					enough()
					continue // the second try is cut short
				}
				_, _ = conn.Write([]byte{'N'})
				_, _ = io.ReadFull(conn, first)
			}
			_ = conn.Close()
		}
	})
	cfg := dbfx.DefaultConfig()
	cfg.StartTimeout = 5 * time.Minute
	cfg.User, cfg.Password, cfg.Name = "ada", dbfx.NewSecret("secret"), "tokens"
	_, err = dbfx.Open(ctx, hosts(cfg, "sslmode=prefer", listener.Addr().(*net.TCPAddr).Port))
	if err == nil || !contains(err.Error(), "gave up") || contains(err.Error(), "TLS") || contains(err.Error(), "sslrootcert") {
		t.Errorf("got %v", err)
	}
	if ctx.Err() == nil {
		t.Error("the start has not tried again")
	}
}

// TestDial_AStartWaitsForThePromotion: only a standby is there when it begins.
func TestDial_AStartWaitsForThePromotion(t *testing.T) {
	t.Parallel()
	primary, standby, cfg := pair(t)
	promoter := cfg
	promoter.Port = standby.Port()
	there := open(t, promoter)
	primary.Stop(t, syscall.SIGQUIT)
	defer primary.Start(t) // for the cleanup of its database
	core, logs := observer.New(zap.WarnLevel)
	cfg.StartTimeout = 5 * time.Minute
	started := make(chan error, 1)
	go func() {
		db, err := dbfx.Open(context.Background(), hosts(cfg, "sslmode=prefer&target_session_attrs=read-write", primary.Port(), standby.Port()), dbfx.WithLogger(zap.New(core)))
		if err == nil {
			err = errors.Join(db.Sessions().Run(context.Background(), noop), db.Close(context.Background()))
		}
		started <- err
	}()
	waiting := func() bool {
		for _, entry := range logs.FilterMessage("waiting for the database").All() {
			if reason, _ := entry.ContextMap()["reason"].(string); contains(reason, "another role", "read-write") {
				return true
			}
		}
		return false
	}
	for !waiting() {
		select {
		case err := <-started:
			t.Fatal("it did not wait:", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if _, err := there.DB().ExecContext(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Error(err)
	}
}

// TestDial_RetryRepeatsWhatFailedBeforeFn: nothing has run, so that Idempotent is
// not asked for.
func TestDial_RetryRepeatsWhatFailedBeforeFn(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := server.Database(t)
	db := open(t, cfg)
	server.Stop(t, syscall.SIGQUIT)
	failed := make(chan struct{})
	back := sync.OnceFunc(func() { close(failed) })
	result := make(chan error, 1)
	ran := 0
	go func() {
		policy := dbfx.RetryPolicy{MaxAttempts: 1 << 20, Max: 20 * time.Millisecond}
		policy.Retryable = func(error) bool { back(); return false }
		result <- db.Sessions().Run(context.Background(), func(context.Context, *dbfx.Session) error { ran++; return nil }, dbfx.Retry(policy))
	}()
	<-failed
	server.Start(t)
	if err := <-result; err != nil || ran != 1 {
		t.Errorf("fn ran %d times, and then %v", ran, err)
	}
}

// TestDial_RetryWaitsForThePromotion: only a standby is there, which is no fault of the
// settings.
func TestDial_RetryWaitsForThePromotion(t *testing.T) {
	t.Parallel()
	primary, standby, cfg := pair(t)
	there := cfg
	there.Port = standby.Port()
	promoter := open(t, there)
	db := open(t, hosts(cfg, "sslmode=prefer&target_session_attrs=read-write", primary.Port(), standby.Port()))
	primary.Stop(t, syscall.SIGQUIT)
	defer primary.Start(t) // for the cleanup of its database
	failed := make(chan struct{})
	met := sync.OnceFunc(func() { close(failed) })
	result := make(chan error, 1)
	ran := 0
	go func() {
		policy := dbfx.RetryPolicy{MaxAttempts: 1 << 20, Max: 20 * time.Millisecond}
		policy.Retryable = func(err error) bool {
			if contains(err.Error(), "the server is in another role") {
				met()
			}
			return false
		}
		result <- db.Sessions().Run(context.Background(), func(context.Context, *dbfx.Session) error { ran++; return nil }, dbfx.Retry(policy))
	}()
	select {
	case <-failed:
	case err := <-result:
		t.Fatalf("it did not meet the standby: %v", err)
	}
	if _, err := promoter.DB().ExecContext(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil || ran != 1 {
		t.Errorf("fn ran %d times, and then %v", ran, err)
	}
}
