package migrate_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/dbfx/migrate"
	"github.com/sergas/dbkit/fxtest"
)

// alembic runs the real one in a folder with one revision, on what Config says for
// SQLAlchemy's asynchronous drivers.
func alembic(t *testing.T, dir string, cfg dbfx.Config, args ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"-m", "alembic.config", "-c", "alembic.ini"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "URL="+cfg.SQLAlchemyURL(true))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("alembic %v: %v\n%s", args, err, out)
	}
	return string(out)
}

const alembicEnv = `
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(os.environ["URL"])
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
`

const alembicRevision = `
revision = "aaa111"
down_revision = None
from alembic import op
import sqlalchemy as sa

def upgrade():
    op.create_table("users", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40), nullable=False))
    op.execute("insert into users values (1, 'from alembic')")
`

func TestAlembic_WorksOnTheURLAndItsSchemaIsAdopted(t *testing.T) {
	t.Parallel()
	if err := exec.Command("/usr/bin/python3", "-c", "import alembic, asyncpg, aiosqlite").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3-alembic, -asyncpg and -aiosqlite are required here")
		}
		t.Skip("no Alembic; Debian has python3-alembic, python3-asyncpg and python3-aiosqlite")
	}
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"alembic.ini": "[alembic]\nscript_location = .\n", "env.py": alembicEnv, "versions/aaa111_first.py": alembicRevision,
		} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		alembic(t, dir, cfg, "upgrade", "head")

		db := open(t, cfg)
		fsys := files("00001_users.sql", "create table users (id integer primary key, name varchar(40) not null);", "00002_mail.sql", "alter table users add column mail text;")
		_, err := db.migrator(t, fsys, migrate.AdoptAlembic("bbb222", 1)).Up(t.Context())
		if err == nil || !strings.Contains(err.Error(), "aaa111") {
			t.Error("another revision was adopted:", err)
		}
		if done := db.up(t, fsys, migrate.AdoptAlembic("aaa111", 1)); len(done) != 1 || done[0].Version != 2 {
			t.Errorf("did %+v", done)
		}
		if n := db.count(t, "select count(*) from users where name = 'from alembic' and mail is null"); n != 1 {
			t.Errorf("%d users, want Alembic's", n)
		}
		if out := alembic(t, dir, cfg, "current"); !strings.Contains(out, "aaa111 (head)") {
			t.Error("Alembic afterwards:", out)
		}
	})
}

func TestAdoptAlembic_RunsEverythingOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		fsys := files("00001_users.sql", usersAndNotes, "00002_mail.sql", "alter table users add column mail text;")
		if done := db.up(t, fsys, migrate.AdoptAlembic("aaa111", 1)); len(done) != 2 {
			t.Errorf("did %+v", done)
		}
	})
}

func TestBaseline_MarksWithoutRunning(t *testing.T) {
	t.Parallel()
	fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
		db := open(t, cfg)
		db.exec(t, "create table users (id integer primary key)")
		m := db.migrator(t, files("00001_users.sql", "create table users (id integer primary key);", "00002_a.sql", "create table a (id integer);"))
		if err := m.Baseline(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if done, err := m.Up(t.Context()); err != nil || len(done) != 1 || done[0].Version != 2 {
			t.Errorf("did %+v, %v", done, err)
		}
		if err := m.Baseline(t.Context(), 1); err == nil {
			t.Error("a second baseline was taken")
		}
	})
}
