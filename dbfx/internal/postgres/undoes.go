package postgres

// undoes are the ROLLBACK TO that were sent and not answered: their tag is that of
// ROLLBACK. They are counted by request, up to the Sync or the end of a simple query:
// what a request asked for and did not get, as it failed before, is no excuse for a
// ROLLBACK in a later one.
type undoes struct {
	prepared map[string]int // how many are in a statement, by its name
	sent     []int          // by request; the last one is being sent
}

// prepares says that a statement with n ROLLBACK TO has this name.
func (u *undoes) prepares(name string, n int) {
	delete(u.prepared, name)
	if n == 0 {
		return
	}
	if u.prepared == nil {
		u.prepared = map[string]int{}
	}
	u.prepared[name] = n
}

// runs says that n are sent.
func (u *undoes) runs(n int) {
	if len(u.sent) == 0 {
		u.sent = append(u.sent, 0)
	}
	u.sent[len(u.sent)-1] += n
}

// ends says that the request is sent.
func (u *undoes) ends() {
	u.runs(0)
	u.sent = append(u.sent, 0)
}

// answeredAll says that the first request is answered.
func (u *undoes) answeredAll() {
	if len(u.sent) > 1 {
		u.sent = append(u.sent[:0], u.sent[1:]...)
	}
}

// undone takes the tag of a ROLLBACK. It reports whether that can be the answer to a
// ROLLBACK TO.
func (u *undoes) undone() bool {
	if len(u.sent) == 0 || u.sent[0] == 0 {
		return false
	}
	u.sent[0]--
	return true
}
