package interop

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	yaml "go.yaml.in/yaml/v3"
)

const deployed = "../example/app/deploy/"

// TestDeploy_ComposeFitsTheProgram loads the file as docker compose does, which
// refuses what its schema does not have.
func TestDeploy_ComposeFitsTheProgram(t *testing.T) {
	t.Parallel()
	options, err := cli.NewProjectOptions([]string{deployed + "compose.yaml"}, cli.WithEnv([]string{"POSTGRES_PASSWORD=hunter2"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	app := project.Services["app"]
	env := map[string]string{}
	for name, value := range app.Environment {
		if value != nil {
			env[name] = *value
		}
	}
	accepted(t, buildExample(t), env)
	if app.DependsOn["postgres"].Condition != types.ServiceConditionHealthy || project.Services["postgres"].HealthCheck == nil {
		t.Error("the service starts before its database")
	}
	if grace := app.StopGracePeriod; grace == nil || time.Duration(*grace) <= stopTimeout*time.Second {
		t.Error("the service is killed before it has stopped")
	}
	if !app.ReadOnly || !slices.Contains(app.CapDrop, "ALL") {
		t.Error("the container has privileges")
	}
	if len(app.Ports) != 1 || app.Ports[0].HostIP != "127.0.0.1" || !strings.HasSuffix(env["HTTP_ADDR"], ":"+strconv.Itoa(int(app.Ports[0].Target))) {
		t.Errorf("the port is %+v, and HTTP_ADDR %s", app.Ports, env["HTTP_ADDR"])
	}
	if database, err := url.Parse(env["DATABASE_URL"]); err != nil || project.Services[database.Hostname()].Name == "" {
		t.Errorf("the database is no service: %v", err)
	}
	if !slices.ContainsFunc(app.Volumes, func(v types.ServiceVolumeConfig) bool {
		return strings.HasPrefix(env["AUDIT_DATABASE_PATH"], v.Target+"/")
	}) {
		t.Errorf("the audit trail is in no volume: %s", env["AUDIT_DATABASE_PATH"])
	}
	if _, err := os.Stat(filepath.Join(app.Build.Context, app.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	for _, service := range project.Services {
		for _, v := range service.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", service.Name, err)
			}
		}
	}
	lookAtPrometheus(t, project, env)
}

// lookAtPrometheus: it asks the service, and finds its rules, as Grafana its
// dashboards.
func lookAtPrometheus(t *testing.T, project *types.Project, env map[string]string) {
	t.Helper()
	var prometheus struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		}
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName string                       `yaml:"job_name"`
			Static  []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	strictly(t, deployed+"prometheus.yml", &prometheus)
	host, port, _ := strings.Cut(prometheus.ScrapeConfigs[0].Static[0].Targets[0], ":")
	if host != "app" || !strings.HasSuffix(env["HTTP_ADMIN_ADDR"], ":"+port) {
		t.Errorf("Prometheus asks %s:%s", host, port)
	}
	for _, file := range mounted(t, project.Services["prometheus"], filepath.Dir(prometheus.RuleFiles[0]), filepath.Base(prometheus.RuleFiles[0])) {
		var rules struct{ Groups []any }
		strictly(t, file, &rules) // Prometheus does not start with a file of another kind, such as promtool's tests
	}
	var dashboards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	strictly(t, deployed+"grafana/provisioning/dashboards/dashboards.yaml", &dashboards)
	for _, file := range mounted(t, project.Services["grafana"], dashboards.Providers[0].Options.Path, "*.json") {
		if text, err := os.ReadFile(file); err != nil || !json.Valid(text) {
			t.Errorf("%s is no JSON: %v", file, err)
		}
	}
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, URL string
			IsDefault            bool `yaml:"isDefault"`
		}
	}
	strictly(t, deployed+"grafana/provisioning/datasources/prometheus.yaml", &sources)
	if at, err := url.Parse(sources.Datasources[0].URL); err != nil || project.Services[at.Hostname()].Name == "" {
		t.Errorf("Grafana asks %s: %v", at, err)
	}
}

// strictly decodes YAML, and refuses what into does not have.
func strictly(t *testing.T, path string, into any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	decoder := yaml.NewDecoder(f)
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// mounted returns the files that the service finds in a folder.
func mounted(t *testing.T, service types.ServiceConfig, folder, pattern string) []string {
	t.Helper()
	for _, v := range service.Volumes {
		if v.Target != folder {
			continue
		}
		files, err := filepath.Glob(filepath.Join(v.Source, pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no %s: %v", v.Source, pattern, err)
		}
		return files
	}
	t.Errorf("%s: nothing is mounted at %s", service.Name, folder)
	return nil
}
