package migrate

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
)

// readyBare looks at a migration without a transaction under its lock: whether
// there is something left to do, and after which statement it was broken off.
func (s *step) readyBare(ctx context.Context, conn *sql.Conn) error {
	if err := conn.Raw(func(driverConn any) error {
		raw, err := newLink(driverConn)
		if err != nil {
			return err
		}
		return s.mustBeOpen(ctx, raw)
	}); err != nil {
		return err
	}
	if !s.up || s.mig.code != nil {
		return nil
	}
	var done int
	var prefix string
	err := conn.QueryRowContext(ctx, `select statements_done, prefix from `+s.m.opt.table+`_files
		where version_id = $1 and applied_at = ''`, s.mig.version).Scan(&done, &prefix)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if list := s.mig.script.up; done < len(list) && prefix == prefixOf(list, done) {
		s.done, s.resumes = done, true
	}
	return nil
}

// mark writes, before a statement of a migration without a transaction, that those
// before it are done. The next start goes on there.
func (s *step) mark(ctx context.Context, raw link) error {
	if !s.up {
		return nil
	}
	return s.writeDown(ctx, func(ctx context.Context) error {
		return raw.exec(ctx, `insert into `+s.m.opt.table+`_files (version_id, file, checksum, statements_done, prefix) values ($1, $2, $3, $4, $5)
			on conflict (version_id) do update set file = excluded.file, checksum = excluded.checksum, applied_at = '',
				statements_done = excluded.statements_done, prefix = excluded.prefix`,
			s.mig.version, s.mig.file, s.mig.checksum, int64(s.at-1), s.prefix())
	})
}

// writeDown tries again while another writer is in the way. The statements that it
// writes down have run: were the whole step tried again, they would run twice.
func (s *step) writeDown(ctx context.Context, write func(context.Context) error) error {
	w := waiting{m: s.m, log: s.m.log}
	for {
		err := write(ctx)
		if code := codeOf(err); code != "SQLite 5" && code != "SQLSTATE 55P03" {
			return err
		}
		if w.again(ctx, s, err) != nil {
			return err
		}
	}
}

// prefix is prefixOf the statements that are done. It goes on where it was: a file
// may have a hundred thousand.
func (s *step) prefix() string {
	for ; s.hashed < s.at-1; s.hashed++ {
		addTo(s.hash, s.mig.script.up[s.hashed])
	}
	return hex.EncodeToString(s.hash.Sum(nil))
}

// resumesHere reports whether an earlier run was broken off in the statement that
// comes now, so that it may have been done.
func (s *step) resumesHere() bool { return s.resumes && s.at == s.done+1 }

// mustStay looks, from outside, whether the version is there: a file that leaves
// a transaction open has put it into that.
func (s *step) mustStay(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	now, err := s.m.readState(ctx, db)
	if err == nil && now.applied(s.mig.version) != s.up {
		err = s.explain(errors.New("it leaves a transaction open, which was rolled back"), statement{}, "")
	}
	return err
}
