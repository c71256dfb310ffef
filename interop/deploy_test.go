package interop

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// stopTimeout is the example's, in seconds.
const stopTimeout = 25

// documents parses every document of a YAML file, and refuses a key that stands
// twice.
func documents(t *testing.T, path string) (list []map[string]any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for decoder := yaml.NewDecoder(f); ; {
		var document map[string]any
		if err := decoder.Decode(&document); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		list = append(list, document)
	}
}

// at goes down into what YAML or JSON gave: names and positions.
func at(t *testing.T, value any, steps ...any) any {
	t.Helper()
	for _, step := range steps {
		switch s := step.(type) {
		case string:
			m, ok := value.(map[string]any)
			if !ok || m[s] == nil {
				t.Fatalf("no %v of %v in %v", s, steps, value)
			}
			value = m[s]
		case int:
			list, ok := value.([]any)
			if !ok || len(list) <= s {
				t.Fatalf("no %v of %v in %v", s, steps, value)
			}
			value = list[s]
		}
	}
	return value
}

func TestDeploy_KubernetesFitsTheProgram(t *testing.T) {
	t.Parallel()
	kinds := map[string]map[string]any{}
	files, err := filepath.Glob("../example/app/deploy/kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, document := range documents(t, file) {
			at(t, document, "apiVersion")
			at(t, document, "metadata", "name")
			kinds[at(t, document, "kind").(string)] = document
		}
	}
	pod := at(t, kinds["Deployment"], "spec", "template", "spec")
	app := at(t, pod, "containers", 0)
	for probe, path := range map[string]string{"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		if got := at(t, app, probe, "httpGet", "path"); got != path {
			t.Errorf("%s asks %v, want %s", probe, got, path)
		}
		if at(t, app, probe, "httpGet", "port") != at(t, app, "ports", 0, "name") {
			t.Errorf("%s asks another port", probe)
		}
	}
	if grace := at(t, pod, "terminationGracePeriodSeconds").(int); grace <= stopTimeout {
		t.Errorf("the grace of %d s ends before the stop timeout of %d s", grace, stopTimeout)
	}
	if at(t, kinds["Deployment"], "spec", "selector", "matchLabels", "app") != at(t, kinds["Deployment"], "spec", "template", "metadata", "labels", "app") ||
		at(t, kinds["Service"], "spec", "selector", "app") != at(t, kinds["Deployment"], "spec", "template", "metadata", "labels", "app") {
		t.Error("the selectors find no pod")
	}
	job := at(t, kinds["Job"], "spec", "template", "spec")
	if got := at(t, job, "containers", 0, "args", 0); got != "migrate" || at(t, job, "restartPolicy") != "Never" {
		t.Errorf("the job runs %v", got)
	}
	secret := at(t, kinds["Secret"], "stringData")
	for _, container := range []any{app, at(t, job, "containers", 0)} {
		if at(t, container, "securityContext", "allowPrivilegeEscalation") != false {
			t.Error("a container may gain privileges")
		}
		for _, variable := range at(t, container, "env").([]any) {
			known(t, at(t, variable, "name").(string))
			if from, ok := variable.(map[string]any)["valueFrom"]; ok {
				at(t, secret, at(t, from, "secretKeyRef", "key"))
			}
		}
	}
}

func TestDeploy_ComposeFitsTheProgram(t *testing.T) {
	t.Parallel()
	compose := documents(t, "../example/app/deploy/compose.yaml")[0]
	app := at(t, compose, "services", "app")
	for name := range at(t, app, "environment").(map[string]any) {
		known(t, name)
	}
	if at(t, app, "depends_on", "postgres", "condition") != "service_healthy" || at(t, app, "stop_grace_period") != "30s" {
		t.Error("the service starts before its database, or is killed before it has stopped")
	}
	context := filepath.Join("../example/app/deploy", at(t, app, "build", "context").(string))
	if _, err := os.Stat(filepath.Join(context, at(t, app, "build", "dockerfile").(string))); err != nil {
		t.Error(err)
	}
	for service, definition := range at(t, compose, "services").(map[string]any) {
		volumes, _ := definition.(map[string]any)["volumes"].([]any)
		for _, volume := range volumes {
			source, _, _ := strings.Cut(volume.(string), ":")
			if strings.HasPrefix(source, ".") {
				if _, err := os.Stat(filepath.Join("../example/app/deploy", source)); err != nil {
					t.Errorf("%s: %v", service, err)
				}
			} else if _, ok := at(t, compose, "volumes").(map[string]any)[source]; !ok {
				t.Errorf("%s: no volume %s", service, source)
			}
		}
	}
	prometheus := documents(t, "../example/app/deploy/prometheus.yml")[0]
	target := at(t, prometheus, "scrape_configs", 0, "static_configs", 0, "targets", 0).(string)
	if _, port, _ := strings.Cut(target, ":"); !strings.HasSuffix(at(t, app, "environment", "HTTP_ADMIN_ADDR").(string), ":"+port) {
		t.Errorf("Prometheus asks %s", target)
	}
	for _, pattern := range []string{"../example/app/deploy/grafana/provisioning/*/*.yaml", "../example/grafana/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Errorf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(file) == ".json" && !json.Valid(text) {
				t.Errorf("%s is no JSON", file)
			} else if filepath.Ext(file) == ".yaml" {
				documents(t, file)
			}
		}
	}
}

// known fails for a variable that the program does not read.
func known(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `=`).Match(text) {
		t.Errorf("%s is not in .env.example", name)
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
	for _, want := range []string{"ExecStart=/usr/local/bin/tokens serve", "TimeoutStopSec=35", "StateDirectory=tokens", "Restart=on-failure"} {
		if !strings.Contains(string(text), want) {
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
