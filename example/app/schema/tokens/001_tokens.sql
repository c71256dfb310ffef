-- +goose Up
-- One text for PostgreSQL and SQLite. Times are UTC. Ids sort by time.
create table if not exists tokens (
	id         text      primary key,
	name       text      not null unique,
	hash       text      not null,
	created_at timestamp not null,
	revoked_at timestamp
);
