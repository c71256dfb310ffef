package dbfx

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Check is a question that readiness asks beside the ping, once the database has
// answered that. Put one into the graph with the value group "dbfx.checks":
//
//	fx.Provide(fx.Annotate(newCheck, fx.ResultTags(`group:"dbfx.checks"`)))
type Check struct {
	// Database is the name given to Named, "" for the default one.
	Database string
	// Name stands in the body of /readyz?verbose, on the page and in the metrics. Of
	// two checks of one name the second is called "name#2". "" is "unnamed".
	Name string
	// Run answers. The checks run at once and share the two seconds of the ping; a
	// panic is a Fail.
	Run func(ctx context.Context) CheckResult
	// Timeout bounds Run: one that has not answered by then fails, whether it heeds
	// its context or not. 0 is what is left of the two seconds.
	Timeout time.Duration
	// Optional makes a Fail of it a Warn: the service can do without.
	Optional bool
}

// CheckResult is the answer to a Check.
type CheckResult struct {
	// Status Fail makes the service not ready. A status that is none is a Fail.
	Status Status
	// Reason is for people, and stands in the body: no secret, no host.
	Reason string
	// Figures are numbers for the page and the metrics. They are copied; NaN and the
	// infinities are left out, which JSON has no words for.
	Figures map[string]float64
}

// CheckReport is a CheckResult under its Check's name.
type CheckReport struct {
	Name string
	CheckResult
}

// WithCheck adds a Check to the Health of what Open returns; its Database is not
// looked at.
func WithCheck(c Check) OpenOption {
	return func(d *Database) { d.checks = append(d.checks, c) }
}

// runChecks asks every check at once, and lets the worst answer decide.
func (h *Health) runChecks(ctx context.Context, report *Report) {
	answers := make([]<-chan CheckResult, len(h.checks))
	for i, c := range h.checks {
		answers[i] = c.start(ctx)
	}
	for i, c := range h.checks {
		result := CheckReport{Name: c.Name, CheckResult: <-answers[i]}
		if result.Status == Fail && c.Optional {
			result.Status = Warn
		}
		report.Checks = append(report.Checks, result)
		if result.Status == Fail || result.Status == Warn && report.Status == Pass {
			report.Status = result.Status
		}
		if result.Status == Fail && report.Reason == "" {
			report.Reason = result.Reason
		}
	}
}

// runningCheck is a Check that may have been asked and not answered yet.
type runningCheck struct {
	Check
	busy atomic.Bool
}

// start runs the check and returns where its answer comes, in time. One that hangs
// is not asked again before it has answered: each question would leave a goroutine.
func (c *runningCheck) start(ctx context.Context) <-chan CheckResult {
	answer := make(chan CheckResult, 2)
	late := CheckResult{Status: Fail, Reason: fmt.Sprintf("the check %s did not answer in time", c.Name)}
	if c.busy.Swap(true) {
		answer <- late
		return answer
	}
	cancel := func() {}
	if c.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
	}
	stop := context.AfterFunc(ctx, func() { answer <- late })
	go func() {
		result := CheckResult{Status: Fail, Reason: fmt.Sprintf("the check %s ended its goroutine", c.Name)} // by runtime.Goexit
		defer func() {
			c.busy.Store(false)
			answer <- result
			stop()
			cancel()
		}()
		result = c.run(ctx)
	}()
	return answer
}

// run asks, and sees to it that the answer is one.
func (c Check) run(ctx context.Context) (result CheckResult) {
	defer func() {
		if p := recover(); p != nil {
			result = CheckResult{Status: Fail, Reason: fmt.Sprintf("the check %s panicked", c.Name)}
		}
	}()
	result = c.Run(ctx)
	if result.Status != Pass && result.Status != Warn && result.Status != Fail {
		result.Status, result.Reason = Fail, fmt.Sprintf("the check %s answered with no status", c.Name)
	}
	result.Figures = finite(result.Figures)
	return result
}

// finite copies figures, which the check may go on to change.
func finite(figures map[string]float64) map[string]float64 {
	if figures == nil {
		return nil
	}
	own := make(map[string]float64, len(figures))
	for name, value := range figures {
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			own[strings.ToValidUTF8(name, "\uFFFD")] = value
		}
	}
	return own
}

// ordered are the checks as they are asked and shown: those that the service cannot do
// without first, then by their names. Fx gives a group in another order at each start.
func ordered(checks []Check) []*runningCheck {
	list := slices.Clone(checks)
	slices.SortStableFunc(list, func(a, b Check) int {
		if a.Optional != b.Optional {
			if b.Optional {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	names := map[string]bool{pingKey: true, writesKey: true}
	own := make([]*runningCheck, 0, len(list))
	for _, c := range list {
		c.Name = unlike(names, strings.ToValidUTF8(cmp.Or(c.Name, "unnamed"), "\uFFFD"))
		own = append(own, &runningCheck{Check: c})
	}
	return own
}

// unlike returns name, with "#2" or more behind it if taken has it, and takes it.
func unlike(taken map[string]bool, name string) string {
	free := name
	for n := 2; taken[free]; n++ {
		free = fmt.Sprintf("%s#%d", name, n)
	}
	taken[free] = true
	return free
}

// checksOf keeps those of one database.
func checksOf(name string, all []Check) []Check {
	var own []Check
	for _, c := range all {
		if c.Database == name && c.Run != nil {
			own = append(own, c)
		}
	}
	return own
}
