package metrics

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sergas/dbkit/dbfx"
)

// fallbackName is the db_name of the database without a name.
const fallbackName = "default"

// Register registers the metrics of databases, and returns what unregisters them.
// Their label db_name is the name given to dbfx.Named, "default" without one,
// with ":replica" behind it for the connections to replicas. Where another
// application of the process has registered that name already, "#2" follows it,
// then "#3".
//
// One Metrics counts one database of a name: the events of a second one are not told
// from those of the first, so that it is an error. So is a collector of client_golang
// that has the name, as its DBStatsCollector has the same family.
func (m *Metrics) Register(to prometheus.Registerer, databases ...*dbfx.Database) (stop func(), err error) {
	var registered []func()
	stop = sync.OnceFunc(func() {
		for _, one := range registered {
			one()
		}
	})
	// Fx gives a group in another order at each start.
	for _, d := range slices.SortedStableFunc(slices.Values(databases), byName) {
		one, err := m.register(to, d)
		if err != nil {
			stop()
			return func() {}, fmt.Errorf("dbfx/metrics: the database %s: %w", nameOf(d), err)
		}
		registered = append(registered, one)
	}
	return stop, nil
}

func byName(a, b *dbfx.Database) int { return cmp.Compare(a.Name(), b.Name()) }

func nameOf(d *dbfx.Database) string { return cmp.Or(d.Name(), fallbackName) }

// mostAlike is how many applications of one process may have a database of the
// same name.
const mostAlike = 100

func (m *Metrics) register(to prometheus.Registerer, d *dbfx.Database) (stop func(), err error) {
	if err := m.hold(d); err != nil {
		return nil, err
	}
	sessions := m.of(d.Name())
	for n := 1; n <= mostAlike; n++ {
		label := nameOf(d)
		if n > 1 {
			label = fmt.Sprintf("%s#%d", label, n)
		}
		collector := newCollector(d, sessions, label)
		if err = to.Register(collector); err == nil {
			return func() {
				to.Unregister(collector)
				m.release(d)
			}, nil
		}
		var already prometheus.AlreadyRegisteredError
		if !errors.As(err, &already) {
			break
		}
	}
	m.release(d)
	return nil, fmt.Errorf("%w (a DBStatsCollector beside this one wants another db_name: dbfx has its family too)", err)
}

// holder is the database that a Metrics counts under a name, and in how many
// registries it is.
type holder struct {
	database   *dbfx.Database
	registries int
}

// hold makes d the one of its name.
func (m *Metrics) hold(d *dbfx.Database) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.holders[d.Name()]
	if h.database != nil && h.database != d {
		return errors.New("this Metrics counts another one of that name: make a metrics.New() for each, and give it to that database alone")
	}
	m.holders[d.Name()] = holder{d, h.registries + 1}
	return nil
}

func (m *Metrics) release(d *dbfx.Database) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.holders[d.Name()]; h.registries > 1 {
		m.holders[d.Name()] = holder{d, h.registries - 1}
		return
	}
	delete(m.holders, d.Name())
}
