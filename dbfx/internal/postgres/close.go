package postgres

import (
	"context"
	"time"
)

// partAtStop is how long a connection whose ROLLBACK is not answered is kept when the
// pool closes.
const partAtStop = 250 * time.Millisecond

// Close implements driver.Conn. It waits for no answer: database/sql calls it in the
// middle of a checkout. The connector's Close waits for what goes on behind it.
func (c *conn) Close() error {
	c.leaveIdle()
	if c.passOn {
		next := c.connector.wrap(c.stdConn)
		next.number, next.deadline, next.returned = c.number, c.deadline, c.returned
		next.socket, next.standby, next.reused = c.socket, c.standby, true
		if c.connector.supply.handOver(next) {
			return nil
		}
	}
	if !c.wire.left() || !c.partLater() {
		c.part()
	}
	return nil
}

// part ends the connection. That a dead peer did not hear the farewell is no fault:
// over TLS it would make a stop fail.
func (c *conn) part() {
	_ = c.stdConn.Close()
	c.connector.insist(c.stdConn.Conn().PgConn())
	c.connector.supply.gone()
}

// partLater ends the connection when its ROLLBACK is answered, or no one waits any
// longer: the server would complain of an answer that no one took. Until then the
// supply counts the connection. partLater reports false when the pool is closed.
func (c *conn) partLater() bool {
	life, leave, err := c.connector.supply.join(context.Background())
	if err != nil {
		return false
	}
	go func() {
		defer leave()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		defer context.AfterFunc(life, func() { time.AfterFunc(partAtStop, cancel) })()
		_ = c.wait(ctx)
		c.part()
	}()
	return true
}
