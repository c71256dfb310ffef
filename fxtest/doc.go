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
// SQLite is a file in the test's temporary directory. PostgreSQL is an empty
// database on a server that is found in this order:
//
//  1. DBFX_TEST_POSTGRES_URL names one whose user may create databases;
//  2. the server's programs are on this machine: a private server is started
//     once per test binary, as another user where the tests run as root, and is
//     gone when the test process is gone, also when that was killed;
//  3. github.com/fergusstrange/embedded-postgres can fetch the programs.
//
// Where none is to be had the test is skipped, and fails if CI is set or
// DBFX_TEST_REQUIRE_POSTGRES=1.
//
// Beside go.uber.org/fx/fxtest import this package under another name, such as
// dbfxtest.
package fxtest
