// Package dbfx gives a service on Uber Fx its database: PostgreSQL or an embedded
// SQLite, as the environment says, opened on start, drained and closed on stop.
//
//	fx.New(dbfx.Module).Run()
//
// That makes ./data/sergas.db. With DATABASE_URL=postgresql://… it is a
// PostgreSQL. The graph then has a [Config], a *sql.DB, and
//
//   - *[Sessions], which runs units of work in transactions,
//   - *[Health], which tells saturated from down, with HTTP handlers,
//   - *[Schema], which runs .sql files and drops what they made.
//
// # Sessions
//
//	err := sessions.Run(ctx, func(ctx context.Context, tx *dbfx.Session) error {
//		_, err := tx.ExecContext(ctx, `insert into notes (text) values ($1)`, text)
//		return err
//	})
//
// What Run returns is what became of the data:
//
//   - nil: committed.
//   - [ErrCommitUnknown]: COMMIT was sent and its answer is missing. Look before
//     you try again. It matches no error of a context.
//   - any other error: not committed. The error of the function comes back
//     unchanged, and so does its panic.
//
// A Run inside a Run, found through ctx, is a savepoint. A statement that failed
// dooms its scope on both engines: to try and go on, nest a Run. Hooks of
// [Session.AfterCommit] run after the outermost commit, once, and not for what
// was rolled back. [Retry] repeats serialization failures, deadlocks and busy
// databases; [Idempotent] adds what may have happened already.
//
// View is a read-only Run. On a SQLite file it reads through connections that no
// writer can hold, and on PostgreSQL from DATABASE_REPLICA_URL where there is one;
// [Primary] and [WithPrimary] read what was just written.
//
// A *sql.DB, a *sql.Tx and a *Session are all a [DBTX], which is what sqlc,
// scany, squirrel and bun take; [Sessions.DB] picks the session of a context, or
// the pool.
//
// # Settings
//
// [Config] documents every setting, its variable, unit and default. Durations are
// seconds ("30") or Go durations ("1m"); an empty variable counts as unset; all
// faults are reported at once and no secret is ever printed. [Named] adds further
// databases, whose variables have a prefix.
//
// # SQLite
//
// One *sql.DB with several connections, WAL, foreign keys on, and one queue for
// writers, first come, first served: no write meets SQLITE_BUSY inside a process.
// A bare write inside Run waits for the session it stands in, until
// SQLITE_BUSY_TIMEOUT: write through the Session there. A database in memory has
// one connection, so inside Run use the Session for reads too.
//
// SQLite can end a transaction by itself, after an interrupted write or on a full
// disk. What then follows in a transaction of the *sql.DB or in a Session gets
// [ErrRolledBack]; without that it would commit by itself.
//
// # PostgreSQL
//
// What a restart, a failover or a firewall left of a connection is found when it is
// taken from the pool, so that no request meets it. Sessions queue for a connection
// first come, first served. A [PasswordSource] in the graph gives each new
// connection its password; [Sessions.Renew] replaces them all, cutting none.
// POOLER=transaction makes it all work behind PgBouncer.
//
// # Reaching the driver
//
// sql.Conn.Raw gives a connection that has the methods of the driver's: on
// PostgreSQL assert interface{ Conn() *pgx.Conn }, for CopyFrom or LISTEN; on
// SQLite the interfaces of modernc.org/sqlite, such as FileControl.
//
// # Without Fx
//
// [LoadConfig], [Open] and [Database.Close] do what the module does.
package dbfx
