package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Position returns where in its statement the server found the fault, in
// characters from 1; 0 where it does not say.
func Position(err error) int {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return int(pg.Position)
	}
	return 0
}
