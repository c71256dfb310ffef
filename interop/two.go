package interop

import (
	"go.uber.org/fx"

	"github.com/sergas/dbkit/dbfx"
)

// Ledger writes to the default database and reads the one named reports.
type Ledger struct{ main, reports *dbfx.Sessions }

// NewLedger takes both.
func NewLedger(main, reports *dbfx.Sessions) *Ledger { return &Ledger{main, reports} }

// LedgerModule is the wiring.
var LedgerModule = fx.Options(
	dbfx.Module,
	dbfx.Named("reports"),
	fx.Provide(fx.Annotate(NewLedger, fx.ParamTags("", `name:"reports"`))),
)
