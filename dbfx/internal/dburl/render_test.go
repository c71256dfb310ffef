package dburl

import "testing"

func TestLocation_URLsForOtherTools(t *testing.T) {
	t.Parallel()
	tests := []struct{ give, url, async, sync string }{
		{
			"postgresql+asyncpg://ada:a%40b@db:6432/t?ssl=require&command_timeout=5",
			"postgres://ada:a%40b@db:6432/t?options=-c%20statement_timeout%3D5000&sslmode=require",
			"postgresql+asyncpg://ada:a%40b@db:6432/t?ssl=require",
			"postgresql://ada:a%40b@db:6432/t?options=-c%20statement_timeout%3D5000&sslmode=require",
		},
		{
			"postgresql://ada:x@/t?host=/run/pg",
			"postgres://ada:x@/t?host=%2Frun%2Fpg",
			"postgresql+asyncpg://ada:x@/t?host=%2Frun%2Fpg",
			"postgresql://ada:x@/t?host=%2Frun%2Fpg",
		},
		{
			"postgresql://ada:x@one,two:2/t?statement_cache_size=0",
			"postgres://ada:x@one,two:2/t",
			"postgresql+asyncpg://ada:x@/t?host=one%3A5432&host=two%3A2&prepared_statement_cache_size=0",
			"postgresql://ada:x@one,two:2/t",
		},
		{"sqlite:///./data/a b.db", "sqlite:///./data/a b.db", "sqlite+aiosqlite:///./data/a b.db", "sqlite:///./data/a b.db"},
		{"sqlite:////var/a%3Fb%25.db", "sqlite:////var/a%3Fb%25.db", "sqlite+aiosqlite:////var/a%3Fb%25.db", "sqlite:////var/a%3Fb%25.db"},
		{
			"postgresql://ada:x@db/t?keepalives_idle=30&load_balance_hosts=random&sslmode=require",
			"postgres://ada:x@db/t?sslmode=require",
			"postgresql+asyncpg://ada:x@db/t?ssl=require",
			"postgresql://ada:x@db/t?keepalives_idle=30&load_balance_hosts=random&sslmode=require",
		},
		{"sqlite:///a.db?timeout=2.50&check_same_thread=0", "sqlite:///a.db?timeout=2.5", "sqlite+aiosqlite:///a.db?timeout=2.5", "sqlite:///a.db?timeout=2.5"},
		{"sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite:///:memory:", "sqlite:///:memory:"},
	}
	for _, tt := range tests {
		loc, err := Parse(tt.give)
		if err != nil {
			t.Fatal(err)
		}
		for _, pair := range [][2]string{{loc.URL(), tt.url}, {loc.SQLAlchemyURL(true), tt.async}, {loc.SQLAlchemyURL(false), tt.sync}} {
			if pair[0] != pair[1] {
				t.Errorf("%s:\ngot  %s\nwant %s", tt.give, pair[0], pair[1])
			}
		}
	}
}
