// Package fxtest gives a test its own real database in milliseconds.
//
//	func TestStore(t *testing.T) {
//		fxtest.EachEngine(t, func(t *testing.T, cfg dbfx.Config) {
//			app := fxtest.New(t, fxtest.Use(cfg))
//			err := app.Schema.Init(t.Context(), ddl)
//			…
//		})
//	}
//
// New starts an application of dbfx.Module, Start one that has the module itself.
// Both print nothing unless the test fails, and fail a test that leaves a
// connection in use. What else there is:
//
//   - [Template] migrates once and gives each test a copy;
//   - [Statements] records what ran, for tests that count queries;
//   - [Proxy] puts a line in front of PostgreSQL that a test can cut, also at
//     COMMIT, take down, freeze and slow down;
//   - [Hold] locks writers out, as another program would.
//
// SQLite is a file that goes with the test, and with the process where that is
// killed. PostgreSQL is an empty database on a server that is found in this order:
//
//  1. DBFX_TEST_POSTGRES_URL names one whose user may create databases; what a
//     killed run has left there goes with the next run;
//  2. the server's programs are on this machine, in DBFX_TEST_PGBIN, PATH or the
//     usual folders: a private server is started once per test binary, as another
//     user where the tests run as root, and is gone when the test process is gone,
//     also when that was killed.
//
// DBFX_TEST_KEEP=1 keeps the databases of failed tests and prints how to open
// them.
//
// Where none is to be had the test is skipped, and fails if CI is set or
// DBFX_TEST_REQUIRE_POSTGRES=1. It fails as well where the server of
// DBFX_TEST_POSTGRES_URL cannot be used.
//
// Beside go.uber.org/fx/fxtest import this package under another name, such as
// dbfxtest.
package fxtest
