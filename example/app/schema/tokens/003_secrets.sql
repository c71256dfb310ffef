-- +goose Up
-- What a repeated creation has told beside the first secret. Each answer that reached
-- the client holds one that works, in whatever order the requests came.
create table if not exists secrets (
	token_id   text      not null references tokens (id),
	hash       text      not null,
	created_at timestamp not null,
	primary key (token_id, hash)
);
