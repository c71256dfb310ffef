package dbfx

import (
	"encoding/json"
	"net/http"
)

// Live answers 200 while the process runs. It never asks the database: an outage
// of that must not restart every service.
func (h *Health) Live() http.Handler {
	return probeHandler(func(*http.Request) answer { return answer{Status: Pass} })
}

// Ready answers 200 when requests can be served, else 503; 503 also before the
// start is over and as soon as the stop begins. With ?verbose the body says more.
func (h *Health) Ready() http.Handler {
	return probeHandler(func(r *http.Request) answer {
		return answerOf(h.Check(r.Context()), r.URL.Query().Has("verbose"))
	})
}

// Startup answers 200 once the start is over, else 503. It does not ask the
// database again.
func (h *Health) Startup() http.Handler {
	return probeHandler(func(*http.Request) answer {
		if state := h.state(); state == StateStarting {
			return answer{Status: Fail}
		}
		return answer{Status: Pass}
	})
}

// Handler serves /livez, /readyz, /startupz, /writez, which is Writes, and
// /healthz, which is /readyz with the details. The bodies are JSON and hold neither host nor user nor the text of
// an error.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/livez", h.Live())
	mux.Handle("/readyz", h.Ready())
	mux.Handle("/startupz", h.Startup())
	mux.Handle("/writez", h.Writes())
	mux.Handle("/healthz", probeHandler(func(r *http.Request) answer {
		return answerOf(h.Check(r.Context()), true)
	}))
	return mux
}

// answer is the body, shaped as draft-inadarei-api-health-check-06.
type answer struct {
	Status Status                   `json:"status"`
	Output string                   `json:"output,omitempty"` // why, where a Check failed
	Checks map[string][]checkAnswer `json:"checks,omitempty"`
}

type checkAnswer struct {
	Status   Status             `json:"status"`
	State    State              `json:"state,omitempty"`
	Class    string             `json:"class,omitempty"`
	Output   string             `json:"output,omitempty"`
	Time     string             `json:"time"`
	Observed float64            `json:"observedValue,omitempty"`
	Unit     string             `json:"observedUnit,omitempty"`
	Figures  map[string]float64 `json:"figures,omitempty"`
	Pool     *figures           `json:"pool,omitempty"`
}

// figures are sql.DBStats as the bodies show them.
type figures struct {
	MaxOpen           int     `json:"max_open"`
	Open              int     `json:"open"`
	InUse             int     `json:"in_use"`
	Idle              int     `json:"idle"`
	WaitCount         int64   `json:"wait_count"`
	WaitSeconds       float64 `json:"wait_seconds"`
	MaxIdleClosed     int64   `json:"max_idle_closed"`
	MaxIdleTimeClosed int64   `json:"max_idle_time_closed"`
	MaxLifetimeClosed int64   `json:"max_lifetime_closed"`
}

// pingKey is under which the body has the ping.
const pingKey = "database:ping"

const checkTime = "2006-01-02T15:04:05.000Z"

func answerOf(r Report, verbose bool) answer {
	a := answer{Status: r.Status, Output: r.Reason}
	if !verbose {
		return a
	}
	s := r.Pool
	a.Checks = map[string][]checkAnswer{pingKey: {{
		Status: r.Status, State: r.State, Class: r.Class,
		Time:     r.Time.UTC().Format(checkTime),
		Observed: float64(r.Duration.Microseconds()) / 1000, Unit: "ms",
		Pool: &figures{
			MaxOpen: s.MaxOpenConnections, Open: s.OpenConnections, InUse: s.InUse, Idle: s.Idle,
			WaitCount: s.WaitCount, WaitSeconds: s.WaitDuration.Seconds(), MaxIdleClosed: s.MaxIdleClosed,
			MaxIdleTimeClosed: s.MaxIdleTimeClosed, MaxLifetimeClosed: s.MaxLifetimeClosed,
		},
	}}}
	for _, c := range r.Checks {
		a.Checks[c.Name] = []checkAnswer{{
			Status: c.Status, Output: c.Reason, Figures: c.Figures, Time: r.Time.UTC().Format(checkTime),
		}}
	}
	return a
}

func probeHandler(ask func(*http.Request) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		a := ask(r)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if a.Status == Fail {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(a) // a client that hung up is not our fault
		}
	})
}
