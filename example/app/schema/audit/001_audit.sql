-- +goose Up
-- The audit trail, in a database of its own. Its events come at least once; the
-- key makes them once.
create table if not exists audit (
	id         text      primary key,
	kind       text      not null,
	token_id   text      not null,
	request_id text      not null,
	created_at timestamp not null
);
