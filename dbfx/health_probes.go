package dbfx

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
)

// Probes is the health of all databases of an application together: each must be
// healthy. Module provides one; without Fx, or without a default database, NewProbes
// makes it.
type Probes struct {
	names  []string
	health []*Health
}

// NewProbes makes the Probes of databases. Of two of one name the second is called
// "name#2", or "#2" where they have none.
func NewProbes(databases ...*Database) *Probes {
	p, taken := &Probes{}, map[string]bool{}
	// Fx gives a group in another order at each start.
	for _, d := range slices.SortedStableFunc(slices.Values(databases), func(a, b *Database) int { return cmp.Compare(a.name, b.name) }) {
		p.names, p.health = append(p.names, unlike(taken, d.name)), append(p.health, d.health)
	}
	return p
}

// Stopping makes every one fail from now on, as Health.Stopping does.
func (p *Probes) Stopping() {
	for _, h := range p.health {
		h.Stopping()
	}
}

// Check checks all at once and returns the reports by the names of the databases,
// and the worst status.
func (p *Probes) Check(ctx context.Context) (map[string]Report, Status) {
	return p.ask(func(h *Health) Report { return h.Check(ctx) })
}

func (p *Probes) ask(check func(*Health) Report) (map[string]Report, Status) {
	reports := make([]Report, len(p.health))
	var wg sync.WaitGroup
	for i, h := range p.health {
		wg.Go(func() { reports[i] = check(h) })
	}
	wg.Wait()
	all, worst := make(map[string]Report, len(reports)), Pass
	for i, r := range reports {
		all[p.names[i]] = r
		if r.Status == Fail || r.Status == Warn && worst == Pass {
			worst = r.Status
		}
	}
	return all, worst
}

// Handler serves what Health.Handler does, for all databases: /livez, /readyz,
// /startupz, /writez, and /healthz with the details.
func (p *Probes) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/livez", probeHandler(func(*http.Request) answer { return answer{Status: Pass} }))
	mux.Handle("/readyz", probeHandler(func(r *http.Request) answer {
		return p.answer(r.URL.Query().Has("verbose"), func(h *Health) Report { return h.Check(r.Context()) })
	}))
	mux.Handle("/writez", probeHandler(func(r *http.Request) answer {
		return p.answer(r.URL.Query().Has("verbose"), func(h *Health) Report { return h.CheckWrites(r.Context()) })
	}))
	mux.Handle("/healthz", probeHandler(func(r *http.Request) answer {
		return p.answer(true, func(h *Health) Report { return h.Check(r.Context()) })
	}))
	mux.Handle("/startupz", probeHandler(func(*http.Request) answer {
		for _, h := range p.health {
			if h.state() == StateStarting {
				return answer{Status: Fail}
			}
		}
		return answer{Status: Pass}
	}))
	return mux
}

// answer is the body for all databases. What belongs to a named one has its name
// in front.
func (p *Probes) answer(verbose bool, check func(*Health) Report) answer {
	reports, worst := p.ask(check)
	a := answer{Status: worst}
	if verbose {
		a.Checks = map[string][]checkAnswer{}
	}
	for _, name := range p.names {
		one := answerOf(reports[name], verbose)
		if a.Output == "" {
			a.Output = one.Output
		}
		for key, value := range one.Checks {
			switch {
			case name == "":
			case key == pingKey:
				key = name + ":ping"
			case key == writesKey:
				key = name + ":writes"
			default:
				key = name + ":" + key
			}
			a.Checks[key] = append(a.Checks[key], value...) // a check of one may be called like another database
		}
	}
	return a
}
