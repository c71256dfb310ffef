package metrics

import (
	"errors"
	"fmt"

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
func (m *Metrics) Register(to prometheus.Registerer, databases ...*dbfx.Database) (stop func(), err error) {
	var registered []func()
	stop = func() {
		for _, one := range registered {
			one()
		}
	}
	for _, d := range databases {
		one, err := m.register(to, d)
		if err != nil {
			stop()
			return func() {}, err
		}
		registered = append(registered, one)
	}
	return stop, nil
}

// mostAlike is how many applications of one process may have a database of the
// same name.
const mostAlike = 100

func (m *Metrics) register(to prometheus.Registerer, d *dbfx.Database) (stop func(), err error) {
	name := d.Name()
	if name == "" {
		name = fallbackName
	}
	sessions := m.of(d.Name())
	for n := 1; n <= mostAlike; n++ {
		label := name
		if n > 1 {
			label = fmt.Sprintf("%s#%d", name, n)
		}
		collector := newCollector(d, sessions, label)
		if err = to.Register(collector); err == nil {
			return func() { to.Unregister(collector) }, nil
		}
		var already prometheus.AlreadyRegisteredError
		if !errors.As(err, &already) {
			break
		}
	}
	return nil, fmt.Errorf("metrics of the database %s: %w", name, err)
}
