package migrate_test

const childEnv = "DBFX_MIGRATE_CHILD"

func child() {}
