package interop

import (
	"bufio"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sergas/dbkit/example/app/web"
)

// stopTimeout is the example's, in seconds.
const stopTimeout = 25

// buildExample returns the program of example/app.
func buildExample(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "app")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./example/app")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// accepted has the program read an environment, whose variables must also be in
// .env.example.
func accepted(t *testing.T, program string, env map[string]string) {
	t.Helper()
	config := exec.CommandContext(t.Context(), program, "config")
	config.Dir = t.TempDir()
	config.Env = []string{}
	documented := inExample(t)
	for name, value := range env {
		config.Env = append(config.Env, name+"="+value)
		if _, ok := documented[name]; !ok {
			t.Errorf("%s is not in .env.example", name)
		}
	}
	if out, err := config.CombinedOutput(); err != nil {
		t.Errorf("the program refuses its environment: %v\n%s", err, out)
	}
}

var assignment = regexp.MustCompile(`(?m)^([A-Z][A-Z0-9_]*)=(.*)$`)

// inExample are the variables of .env.example.
func inExample(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, match := range assignment.FindAllStringSubmatch(string(text), -1) {
		found[match[1]] = match[2]
	}
	return found
}

// TestEnvExample_HasWhatTheExampleReads: the settings of dbfx are compared in its own
// tests; these are the variables that the example itself reads.
func TestEnvExample_HasWhatTheExampleReads(t *testing.T) {
	t.Parallel()
	reads := regexp.MustCompile(`os\.(?:Getenv|LookupEnv)\("([A-Z0-9_]+)"\)`)
	found := map[string]bool{}
	err := filepath.WalkDir("../example/app", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range reads.FindAllSubmatch(text, -1) {
			found[string(match[1])] = true
		}
		return err
	})
	if err != nil || len(found) < 4 {
		t.Fatalf("got %v, %v", found, err)
	}
	documented := inExample(t)
	for name := range maps.Keys(found) {
		if _, ok := documented[name]; !ok && name != "OTEL_SDK_DISABLED" { // the SDK's own, with the others
			t.Errorf("%s is not in .env.example", name)
		}
	}
	for name, want := range map[string]string{
		"HTTP_ADDR": web.DefaultAddr, "HTTP_ADMIN_ADDR": web.DefaultAdminAddr, "HTTP_DRAIN_DELAY": "0s", "OTEL_TRACES_EXPORTER": "none",
		"AUDIT_DATABASE_PATH": "./data/audit.db",
	} {
		if documented[name] != want {
			t.Errorf("%s: the file says %q, and the default is %q", name, documented[name], want)
		}
	}
}

func TestDeploy_DockerfileBuildsAStaticProgramThatIsNotRoot(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../example/app/deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	instructions := map[string][]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if word == "" || word == "#" {
			continue
		}
		if !slices.Contains([]string{"FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"}, word) {
			t.Errorf("no instruction of Docker's: %s", word)
		}
		instructions[word] = append(instructions[word], rest)
	}
	for word, want := range map[string]string{
		"RUN": "CGO_ENABLED=0 go build", "USER": "65532", "HEALTHCHECK": `CMD ["/app", "ready"]`, "ENTRYPOINT": `["/app"]`, "CMD": `["serve"]`, "STOPSIGNAL": "SIGTERM",
	} {
		if !strings.Contains(strings.Join(instructions[word], "\n"), want) {
			t.Errorf("%s: want %q in %q", word, want, instructions[word])
		}
	}
	goMod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(goMod)
	if first := instructions["FROM"][0]; first != "golang:"+string(version[1])+" AS build" {
		t.Errorf("built by %s, and go.mod wants %s", first, version[1])
	}
	for _, copied := range instructions["COPY"] {
		if from, _, ok := strings.Cut(copied, " "); ok && strings.HasPrefix(from, "--from=") && from != "--from=build" {
			t.Errorf("no stage %s", from)
		}
	}
	for _, run := range instructions["RUN"] {
		if _, target, ok := strings.Cut(run, " ./"); ok && strings.Contains(run, "go build") {
			if _, err := os.Stat(filepath.Join("..", target, "main.go")); err != nil {
				t.Error(err)
			}
		}
	}
	if last := instructions["FROM"][len(instructions["FROM"])-1]; !strings.Contains(last, "distroless/static") {
		t.Errorf("the image is made from %s", last)
	}
}

func TestDeploy_ImageIsNotBuiltFromSecrets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Fields(string(text))
	for _, want := range []string{".env", ".git", "**/data", "**/*.db"} {
		if !slices.Contains(ignored, want) {
			t.Errorf(".dockerignore has no %s", want)
		}
	}
}

func TestDeploy_SystemdUnit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../example/app/deploy/tokens.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ExecStart=/usr/local/bin/tokens serve", "TimeoutStopSec=35", "StateDirectory=tokens", "WorkingDirectory=%S/tokens", "DynamicUser=yes", "Restart=on-failure"} {
		if !strings.Contains(string(text), "\n"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	systemd, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // the rest is systemd's own opinion
	}
	// Only the program's place differs from the one that is shipped.
	unit := filepath.Join(t.TempDir(), "tokens.service")
	local := strings.Replace(string(text), "/usr/local/bin/tokens", os.Args[0], 1)
	if err := os.WriteFile(unit, []byte(local), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.CommandContext(t.Context(), systemd, "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, "tokens.service:") {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
}
