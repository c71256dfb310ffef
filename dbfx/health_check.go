package dbfx

import (
	"context"
	"fmt"
)

// Check is a question that readiness asks beside the ping, once the database has
// answered that. Put one into the graph with the value group "dbfx.checks":
//
//	fx.Provide(fx.Annotate(newCheck, fx.ResultTags(`group:"dbfx.checks"`)))
type Check struct {
	// Database is the name given to Named, "" for the default one.
	Database string
	// Name stands in the body of /readyz?verbose.
	Name string
	// Run answers. It shares the two seconds of the ping; its panic is a Fail.
	Run func(ctx context.Context) CheckResult
}

// CheckResult is the answer to a Check.
type CheckResult struct {
	// Status Fail makes the service not ready.
	Status Status
	// Reason is for people, and stands in the body: no secret, no host.
	Reason string
	// Figures are numbers for the page and the metrics.
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

// runChecks asks every check, and lets the worst answer decide.
func (h *Health) runChecks(ctx context.Context, report *Report) {
	for _, c := range h.checks {
		result := CheckReport{Name: c.Name, CheckResult: c.run(ctx)}
		report.Checks = append(report.Checks, result)
		if result.Status == Fail || result.Status == Warn && report.Status == Pass {
			report.Status = result.Status
		}
		if result.Status == Fail && report.Reason == "" {
			report.Reason = result.Reason
		}
	}
}

func (c Check) run(ctx context.Context) (result CheckResult) {
	defer func() {
		if p := recover(); p != nil {
			result = CheckResult{Status: Fail, Reason: fmt.Sprintf("the check %s panicked", c.Name)}
		}
	}()
	return c.Run(ctx)
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
