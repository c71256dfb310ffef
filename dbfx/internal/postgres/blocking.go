package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sergas/dbkit/dbfx/internal/engine"
)

var _ engine.Blocker = (*Engine)(nil)

// blocking asks only for processes that wait for a lock: pg_blocking_pids stops
// the lock manager for a moment.
const blocking = `
with waiting as (
	select pid, unnest(pg_blocking_pids(pid)) as by from pg_stat_activity
	where pid = any($1) and wait_event_type = 'Lock')
select w.pid, w.by, coalesce(a.application_name, ''), coalesce(a.state, ''), coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8
from waiting w left join pg_stat_activity a on a.pid = w.by
order by w.pid, w.by`

// Blocking implements engine.Blocker, on a connection of its own: the pool may be
// what everyone waits for.
func (e *Engine) Blocking(ctx context.Context, backends []uint32) ([]engine.Block, error) {
	opened, err := e.connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	list := make([]int64, len(backends))
	for i, b := range backends {
		list[i] = int64(b)
	}
	rows, err := opened.(*conn).stdConn.Conn().Query(ctx, blocking, list)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (engine.Block, error) {
		var b engine.Block
		var waiting, by int64
		var held float64
		err := row.Scan(&waiting, &by, &b.Application, &b.State, &held)
		b.Backend, b.By, b.Held = uint32(waiting), uint32(by), time.Duration(held*float64(time.Second)) //nolint:gosec // process ids
		return b, err
	})
}
