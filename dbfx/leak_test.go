package dbfx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// malformed are URLs that must be refused, or fail to connect, without showing
// the marker. They are what people write, and what pgx or net/url would quote.
var malformed = []string{
	"postgresql://u:hunter2@rest@h/d", "postgresql://u:hunter2@h:port/d", "postgresql://u:hunter2@h:99999/d",
	"postgresql://u:hunter2@h:-1/d", "postgresql://u:hunter2@[::1/d", "postgresql://u:hunter2@[]/d", "postgresql://u:hunter2@::1/d",
	"postgresql://u:hunter2@h%zz/d", "postgresql://u:hunter2%00@h/d", "postgresql://u:hunter2@h/d%00", "postgresql://u:hunter2@a,,b/d",
	"postgresql://u:hunter2@h/d?sslmode=hunter2", "postgresql://u:hunter2@h/d?ssl=hunter2", "postgresql://u:hunter2@h/d?x",
	"postgresql://u:hunter2@h/d?nonsense=hunter2", "postgresql://u:hunter2@h/d?service=hunter2", "postgresql://u:hunter2@h/d?passfile=hunter2",
	"postgresql://u:hunter2@h/d?timeout=hunter2", "postgresql://u:hunter2@h/d?server_settings=hunter2",
	"postgresql://u:hunter2@h/d?statement_cache_size=hunter2", "postgresql://u:hunter2@h/d?connect_timeout=hunter2",
	"postgresql://u:hunter2@h/d?target_session_attrs=hunter2", "postgresql://u:hunter2@h/d?channel_binding=hunter2",
	"postgresql://u:hunter2@h/d?client_encoding=hunter2", "postgresql://u:hunter2@h/d?host=a:hunter2&host=b:1",
	"postgresql://u:hunter2@h/d?host=a,b&port=hunter2", "postgresql://u:hunter2@h/d?port=hunter2", "postgresql://h/d?password=hunter2&password=x&nope=1",
	"postgresql://u:12/hunter2@h/d", "postgresql://u:p@h/hunter2@x", "postgresql+asyncpg:u:hunter2@h/d", "postgresql:u:hunter2@h",
	"DATABASE_URL=postgresql://u:hunter2@h/d", `"postgresql://u:hunter2@h/d"`, "'postgresql://u:hunter2@h/d'", "\uFEFFpostgresql://u:hunter2@h/d",
	"hunter2", "u:hunter2@h", "host=h password=hunter2", "password = hunter2", `password='a\' hunter2'`, "//u:hunter2@h/d",
	"sqlite://hunter2/d", "sqlite:///a.db?hunter2", "sqlite:///a.db?key=hunter2",
}

// wellFormed are accepted; what is opened with them fails at a port where no one
// listens, or is never opened.
var wellFormed = []string{
	"postgresql://u:hunter2@127.0.0.1:1/d", "postgres://u:hunter2@127.0.0.1:1/d", "postgresql+asyncpg://u:hunter2@127.0.0.1:1/d?ssl=disable",
	"postgresql+psycopg2://u:hunter2@127.0.0.1:1/d?sslmode=disable", "postgresql+psycopg://u:hunter2@[::1]:1/d", "postgresql://u:hunter2%40x@127.0.0.1:1/d",
	"postgresql://u:a/hunter2@127.0.0.1:1/d", "postgresql://u:a?hunter2@127.0.0.1:1/d", "postgresql://u:hunter2%@127.0.0.1:1/d",
	"postgresql://127.0.0.1:1/d?user=u&password=hunter2", "postgresql://u:hunter2@/d?host=/nowhere", "postgresql://u:hunter2@127.0.0.1:1,127.0.0.1:2/d",
	"postgresql://u:hunter2@/d?host=127.0.0.1:1&host=127.0.0.1:2", "postgresql://u:hunter2@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/nowhere",
	"postgresql://u:hunter2@127.0.0.1:1/d?sslpassword=hunter2", "postgresql://u:hunter2@127.0.0.1:1/d?application_name=x", "postgresql://u:hunter2@no.such.host.invalid:1/d",
	"postgresql://u:hunter2@127.0.0.1:1/d?options=-csearch_path=x", "mysql://u:hunter2@h/d", "oracle+cx://u:hunter2@h/d?a=b",
}

func TestLeaks_TheMarkerAppearsNowhere(t *testing.T) {
	if len(malformed) < 41 || len(wellFormed) < 20 {
		t.Fatalf("%d malformed and %d valid settings", len(malformed), len(wellFormed))
	}
	for _, url := range append(malformed[:len(malformed):len(malformed)], wellFormed...) {
		setEnvironment(t, map[string]string{"DATABASE_URL": url, "DATABASE_PATH": t.TempDir() + "/a.db"})
		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel))
		everySink(t, &out, log)
		if strings.Contains(out.String(), marker) {
			i := strings.Index(out.String(), marker)
			t.Errorf("%s: …%s", url, out.String()[max(0, i-300):min(i+40, out.Len())])
		}
	}
}

// everySink starts an application as a user does and prints all that it gets.
func everySink(t *testing.T, out *bytes.Buffer, log *zap.Logger) {
	t.Helper()
	cfg, err := LoadConfig()
	cfg.StartTimeout, cfg.SQLEcho = 30*time.Millisecond, true
	settings, explainErr := Explain("")
	fmt.Fprintf(out, "%v %+v %v", settings, settings, explainErr)
	sinks(out, log, cfg, err)
	app := fx.New(Module, fx.Replace(cfg), fx.Supply(log), fx.WithLogger(func() fxevent.Logger { return &fxevent.ZapLogger{Logger: log} }), fx.RecoverFromPanics())
	sinks(out, log, app, app.Err())
	if app.Err() == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := app.Start(ctx)
		sinks(out, log, app, err)
		sinks(out, log, nil, app.Stop(ctx))
	}
	db, err := Open(t.Context(), cfg, WithLogger(log))
	sinks(out, log, nil, err)
	if err == nil {
		sinks(out, log, nil, db.Close(t.Context()))
	}
}

func sinks(out *bytes.Buffer, log *zap.Logger, value any, err error) {
	if err != nil {
		fmt.Fprintf(out, "%s %v %+v %#v %q\n", err.Error(), err, err, err, err)
		log.Error("x", zap.Error(err), zap.Any("any", err), zap.Reflect("reflect", err))
		slog.New(slog.NewJSONHandler(out, nil)).Error("x", "err", err)
		slog.New(slog.NewTextHandler(out, nil)).Error("x", "err", err)
		func() {
			defer func() { fmt.Fprint(out, recover()) }()
			panic(err)
		}()
	}
	if cfg, ok := value.(Config); ok {
		text, _ := json.Marshal(cfg)
		fmt.Fprintf(out, "%v %+v %#v %s", cfg, cfg, cfg, text)
		log.Info("x", zap.Any("any", cfg), zap.Reflect("reflect", cfg), zap.Object("object", cfg))
	}
}
