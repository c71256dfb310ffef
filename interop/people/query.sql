-- name: AddPerson :exec
insert into people (id, name) values ($1, $2);

-- name: ListPeople :many
select id, name from people order by id;
