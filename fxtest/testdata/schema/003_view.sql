drop view if exists author_names;
create view author_names as select name from authors;
