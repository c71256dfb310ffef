package postgres

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	headStart  = time.Second // of one address before the next one is tried beside it
	retryPause = time.Second // before an address that failed is tried again beside a silent one
)

// race is one dial: it tries the addresses until one answers as it should.
//
// An address that is silent does not keep the others waiting: after headStart the
// next one is tried beside it, and one that answered with an error again and
// again, as a standby that is about to be promoted does. pgx, and libpq, give the
// silent address all of CONNECT_TIMEOUT first: a fail-over took 47 s instead of 21.
type race struct {
	connector *connector
	targets   []target // in the order of their turns
	password  string
	arrivals  chan arrival
	ctx       context.Context

	next   int     // the first target that has not been tried
	flying int     // tries under way
	failed []int   // targets to try again
	errs   []error // by target, nil while it has given none
	spare  *arrival
}

// arrival is the end of one try.
type arrival struct {
	i         int
	conn      *stdlib.Conn
	preferred bool // it is what target_session_attrs prefers
	err       error
}

func (c *connector) race(ctx context.Context, targets []target, password string) (*stdlib.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience()*time.Duration(len(targets)))
	r := &race{
		connector: c, targets: c.sort(targets), password: password, ctx: ctx,
		arrivals: make(chan arrival), errs: make([]error, len(targets)),
	}
	opened, err := r.run()
	cancel()
	if flying := r.flying; flying > 0 {
		c.supply.work.Go(func() {
			for range flying {
				if a := <-r.arrivals; a.conn != nil {
					_ = a.conn.Close()
				}
			}
		})
	}
	return opened, err
}

// run tries until one address has won or each has failed.
func (r *race) run() (*stdlib.Conn, error) {
	lead, again := time.NewTimer(0), time.NewTimer(0)
	again.Stop()
	defer lead.Stop()
	defer again.Stop()
	for {
		select {
		case a := <-r.arrivals:
			r.flying--
			if won, over := r.land(a); over {
				return won, r.verdict(won)
			}
			switch {
			case r.next < len(r.targets):
				lead.Reset(0)
			case r.flying == 0:
				return r.settle()
			case r.spare != nil:
				lead.Reset(headStart)
			default:
				again.Reset(retryPause)
			}
		case <-lead.C:
			if r.next == len(r.targets) {
				if r.spare != nil {
					return r.settle()
				}
				continue
			}
			if r.next > 0 && r.flying > 0 {
				r.connector.hosts.failed(r.targets[r.next-1].addr) // it is slow at best
			}
			r.start(r.next)
			r.next++
			lead.Reset(r.lead())
		case <-again.C:
			for _, i := range r.failed {
				r.start(i)
			}
			r.failed = nil
		case <-r.ctx.Done():
			return r.settle()
		}
	}
}

// lead is how long the target that was started last has before the next one.
func (r *race) lead() time.Duration {
	last := r.targets[r.next-1]
	c := r.connector
	if r.next < len(r.targets) && c.preferred() && last.host != r.targets[r.next].host && !c.hosts.suspect(last.addr) {
		return c.patience() // the order is a preference
	}
	return min(headStart, c.patience()/2)
}

// land takes a try's end. It reports whether the race is over.
func (r *race) land(a arrival) (won *stdlib.Conn, over bool) {
	c := r.connector
	switch {
	case a.err != nil:
		c.hosts.failed(r.targets[a.i].addr)
		r.errs[a.i] = a.err
		r.failed = append(r.failed, a.i)
		return nil, final(a.err)
	case a.preferred:
		r.errs[a.i] = nil
		r.discard()
		c.hosts.succeeded(r.targets[a.i].addr)
		return a.conn, true
	case r.spare == nil:
		r.spare = &a
	default:
		_ = a.conn.Close()
	}
	return nil, false
}

// settle ends the race with the spare connection, if there is one.
func (r *race) settle() (*stdlib.Conn, error) {
	if r.spare == nil {
		return nil, r.verdict(nil)
	}
	won := r.spare.conn
	r.connector.hosts.succeeded(r.targets[r.spare.i].addr)
	r.spare = nil
	return won, nil
}

func (r *race) discard() {
	if r.spare != nil {
		_ = r.spare.conn.Close()
		r.spare = nil
	}
}

// verdict is nil for a winner, and else says what each address answered.
func (r *race) verdict(won *stdlib.Conn) error {
	if won != nil {
		return nil
	}
	r.discard()
	e := &dialError{attrs: r.connector.opt.Args["target_session_attrs"]}
	for i, t := range r.targets[:max(r.next, 1)] {
		err := r.errs[i]
		if err == nil {
			err = context.DeadlineExceeded
		}
		e.hosts = append(e.hosts, hostError{t.addr, err})
	}
	slices.SortStableFunc(e.hosts, func(a, b hostError) int { return a.weight() - b.weight() })
	return e
}

// start tries one target.
func (r *race) start(i int) {
	r.flying++
	r.connector.supply.work.Go(func() {
		a := r.connector.try(r.ctx, r.targets[i], r.password)
		a.i = i
		r.arrivals <- a
	})
}

// try dials one address, with and without TLS where sslmode leaves that open.
func (c *connector) try(ctx context.Context, t target, password string) arrival {
	if t.err != nil {
		return arrival{err: t.err}
	}
	cfg := *t.cfg
	cfg.Password = password
	preferred := atomic.Bool{}
	preferred.Store(true)
	if c.opt.Args["target_session_attrs"] == "prefer-standby" {
		// pgx would take the primary on the first host at once.
		cfg.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
			err := pgconn.ValidateConnectTargetSessionAttrsStandby(ctx, pg)
			preferred.Store(!errors.Is(err, pgconn.ErrPrimaryConnection))
			if !preferred.Load() {
				return nil
			}
			return err
		}
	}
	w := &witness{}
	var below *wire // of the try that succeeds, which is the last
	cfg.BuildFrontend = func(in io.Reader, out io.Writer) *pgproto3.Frontend {
		below = newWire(in, out)
		return w.frontend(below, below)
	}
	cfg.OnNotice = w.notice
	opened, err := stdlib.GetConnector(cfg, noPing).Connect(ctx)
	if err != nil {
		return arrival{err: decisive(err)}
	}
	raw := opened.(*stdlib.Conn)
	own := raw.Conn().PgConn().CustomData()
	own[witnessKey], own[wireKey] = w, below
	return arrival{conn: raw, preferred: preferred.Load()}
}

// noPing leaves the decision to conn.ResetSession.
var noPing = stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false })

// final reports whether err ends the dial at all hosts, as with libpq: who asks,
// or for what, is wrong.
func final(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "3D000" || pg.Code == "42501")
}
