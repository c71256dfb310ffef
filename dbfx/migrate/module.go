package migrate

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/sergas/dbkit/dbfx"
)

// Module migrates the database of dbfx.Module when that starts, and provides
// *Migrator. fsys holds files in goose's format in its root, in the one folder of
// its root, or in folders called postgresql and sqlite.
//
// The migrations are part of the database's own start: they run when it answers,
// and before the hook of everything that depends on it, wherever Module stands
// in the list of modules. Readiness waits for them too.
//
// They share the time of the start, which Fx limits to 15 seconds: raise
// fx.StartTimeout where that is too short.
func Module(fsys fs.FS, opts ...Option) fx.Option {
	src := newSource(fsys, opts)
	if err := src.opt.check(); err != nil {
		return fx.Error(err)
	}
	name, title, tag := src.opt.database, "migrate", ""
	if name != "" {
		title, tag = "migrate."+name, `name:"`+name+`"`
	}
	return fx.Module(title,
		fx.Provide(fx.Annotate(func() dbfx.Starter {
			return dbfx.Starter{Database: name, Name: "migrate", Run: src.start}
		}, fx.ResultTags(`group:"dbfx.starters"`))),
		fx.Provide(fx.Annotate(func(cfg dbfx.Config, db *sql.DB, s *dbfx.Sessions, log *zap.Logger) (*Migrator, error) {
			return newMigrator(cfg, db, s, log, src)
		}, fx.ParamTags(tag, tag, tag, `optional:"true"`), fx.ResultTags(tag))),
		fx.Provide(fx.Annotate(func(m *Migrator) dbfx.Check {
			return dbfx.Check{Database: name, Name: "migrations", Run: m.Ready}
		}, fx.ParamTags(strings.TrimSpace(tag)), fx.ResultTags(`group:"dbfx.checks"`))),
	)
}

// start is what the mode says.
func (s *source) start(ctx context.Context, d *dbfx.Database) error {
	m, err := newMigrator(d.Config(), d.DB(), d.Sessions(), d.Logger(), s)
	if err != nil {
		return err
	}
	switch cmp.Or(s.opt.mode, Mode(m.cfg.Migrations)) {
	case Off:
		_, err = s.catalog(m.cfg.Dialect())
		return err
	case Check:
		return m.mustBeCurrent(ctx)
	}
	if _, err = m.Up(ctx); err == nil && s.opt.seeds != nil {
		err = m.seedWhereAllowed(ctx)
	}
	return err
}

// mustBeCurrent fails where something is pending.
func (m *Migrator) mustBeCurrent(ctx context.Context) error {
	st, err := m.Status(ctx)
	if err == nil && len(st.Pending()) > 0 {
		err = fmt.Errorf("%w: %s", ErrPending, strings.Join(st.Pending(), ", "))
	}
	return err
}
