-- One text for PostgreSQL and SQLite. Times are UTC.
create table if not exists tokens (
	id         text      primary key,
	name       text      not null unique,
	hash       text      not null unique,
	created_at timestamp not null,
	revoked_at timestamp
);

create index if not exists tokens_created_at on tokens (created_at);
