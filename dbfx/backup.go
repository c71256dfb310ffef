package dbfx

import (
	"context"
	"fmt"
)

// Backup writes a copy of a SQLite database to a new file at path, of one moment,
// while the service goes on writing. progress, unless it is nil, is told the
// pages that are done and their total. ctx ends it; a part is never left at path.
//
// To restore: stop the service, move the copy to DATABASE_PATH, remove the -wal
// and -shm files beside it if there are any, and start the service.
//
// It is refused on PostgreSQL, which has pg_dump and pg_basebackup.
func (s *Schema) Backup(ctx context.Context, path string, progress func(done, total int)) error {
	err := s.sessions.View(s.sessions.Detach(ctx), func(ctx context.Context, tx *Session) error {
		return tx.root.conn.Raw(func(conn any) error {
			return s.engine.Backup(ctx, conn, path, progress)
		})
	}, Name("backup"))
	if err != nil {
		return fmt.Errorf("dbfx: backup: %w", err)
	}
	return nil
}
