package interop

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// manifests are those of example/app/deploy/kubernetes.
type manifests struct {
	deployment appsv1.Deployment
	service    corev1.Service
	budget     policyv1.PodDisruptionBudget
	job        batchv1.Job
	secret     corev1.Secret
}

// read decodes every document into Kubernetes' own types, and refuses a field that
// these do not have, one that stands twice, and a quantity that is none.
func (m *manifests) read(t *testing.T) {
	t.Helper()
	kinds := map[string]any{
		"apps/v1 Deployment": &m.deployment, "v1 Service": &m.service, "policy/v1 PodDisruptionBudget": &m.budget,
		"batch/v1 Job": &m.job, "v1 Secret": &m.secret,
	}
	files, err := filepath.Glob("../example/app/deploy/kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			var kind struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(document, &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			name := kind.APIVersion + " " + kind.Kind
			if kinds[name] == nil {
				t.Fatalf("%s: %s, unknown or a second one", file, name)
			}
			data, err := yaml.YAMLToJSONStrict(document)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			// As the API server does: names of fields in their own case.
			unknown, err := json.UnmarshalStrict(data, kinds[name])
			if err = errors.Join(append(unknown, err)...); err != nil {
				t.Errorf("%s: %s: %v", file, name, err)
			}
			delete(kinds, name)
		}
	}
	for name := range kinds {
		t.Errorf("no %s", name)
	}
}

// env is what a container gets, the secret filled in.
func (m *manifests) env(t *testing.T, c corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, v := range c.Env {
		value := v.Value
		if v.ValueFrom != nil {
			key := v.ValueFrom.SecretKeyRef
			if key == nil || key.Name != m.secret.Name || m.secret.StringData[key.Key] == "" {
				t.Errorf("%s comes from a secret that is not there", v.Name)
				continue
			}
			value = m.secret.StringData[key.Key]
		}
		if _, twice := env[v.Name]; twice {
			t.Errorf("%s stands twice", v.Name)
		}
		env[v.Name] = value
	}
	return env
}

func TestDeploy_KubernetesFitsTheProgram(t *testing.T) {
	t.Parallel()
	var m manifests
	m.read(t)
	pod := m.deployment.Spec.Template
	if len(pod.Spec.Containers) != 1 || len(m.job.Spec.Template.Spec.Containers) != 1 {
		t.Fatal("want one container each")
	}
	app, job := pod.Spec.Containers[0], m.job.Spec.Template.Spec.Containers[0]
	program := buildExample(t)
	accepted(t, program, m.env(t, app))
	accepted(t, program, m.env(t, job))
	for what, selector := range map[string]map[string]string{
		"Deployment": m.deployment.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector, "PodDisruptionBudget": m.budget.Spec.Selector.MatchLabels,
	} {
		for label, value := range selector {
			if pod.Labels[label] != value {
				t.Errorf("the %s selects no pod", what)
			}
		}
	}
	if n := m.budget.Spec.MinAvailable.IntValue(); n < 1 || m.deployment.Spec.Replicas == nil || n >= int(*m.deployment.Spec.Replicas) {
		t.Errorf("a budget of %d allows no drain, or everything", n)
	}
	if !strings.Contains(strings.Join(app.Args, " "), "serve") || strings.Join(job.Args, " ") != "migrate" || app.Image != job.Image {
		t.Errorf("the deployment runs %v of %s, the job %v of %s", app.Args, app.Image, job.Args, job.Image)
	}
	if m.job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Error("a migration that fails is restarted beside the job's own tries")
	}
	m.lookAtPorts(t, app)
	m.lookAtStop(t, app)
	for _, p := range []corev1.PodSpec{pod.Spec, m.job.Spec.Template.Spec} {
		lookAtPrivileges(t, p)
	}
}

// lookAtPorts: the probes, the Service and the program mean the same ports.
func (m *manifests) lookAtPorts(t *testing.T, app corev1.Container) {
	t.Helper()
	env := m.env(t, app)
	ports := map[string]string{}
	for _, port := range app.Ports {
		ports[port.Name] = strconv.Itoa(int(port.ContainerPort))
	}
	for name, variable := range map[string]string{"http": "HTTP_ADDR", "admin": "HTTP_ADMIN_ADDR"} {
		if !strings.HasSuffix(env[variable], ":"+ports[name]) {
			t.Errorf("port %s is %s, and %s is %s", name, ports[name], variable, env[variable])
		}
	}
	if got := m.service.Spec.Ports[0].TargetPort.String(); ports[got] == "" || got == "admin" {
		t.Errorf("the Service leads to port %s", got)
	}
	for path, probe := range map[string]*corev1.Probe{"/startupz": app.StartupProbe, "/livez": app.LivenessProbe, "/readyz": app.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != "http" {
			t.Errorf("no probe asks %s on http: %+v", path, probe)
		}
	}
}

// lookAtStop: the drain is over before the databases must close, and that before the
// pod is killed.
func (m *manifests) lookAtStop(t *testing.T, app corev1.Container) {
	t.Helper()
	if grace := m.deployment.Spec.Template.Spec.TerminationGracePeriodSeconds; grace == nil || *grace <= stopTimeout {
		t.Errorf("the grace ends before the stop timeout of %d s", stopTimeout)
	}
	drain, err := time.ParseDuration(m.env(t, app)["HTTP_DRAIN_DELAY"])
	seen := time.Duration(app.ReadinessProbe.PeriodSeconds*app.ReadinessProbe.FailureThreshold) * time.Second
	if err != nil || drain < seen || drain >= stopTimeout*time.Second*2/3 {
		t.Errorf("HTTP_DRAIN_DELAY: want from %s, when the probe has failed, to two thirds of the stop, got %s, %v", seen, drain, err)
	}
}

func lookAtPrivileges(t *testing.T, p corev1.PodSpec) {
	t.Helper()
	is := func(b *bool, want bool) bool { return b != nil && *b == want }
	if p.SecurityContext == nil || !is(p.SecurityContext.RunAsNonRoot, true) || !is(p.AutomountServiceAccountToken, false) {
		t.Error("a pod may run as root, or has the token of an account")
	}
	c := p.Containers[0].SecurityContext
	if c == nil || !is(c.AllowPrivilegeEscalation, false) || !is(c.ReadOnlyRootFilesystem, true) || c.Capabilities == nil ||
		len(c.Capabilities.Drop) != 1 || c.Capabilities.Drop[0] != "ALL" {
		t.Errorf("a container has privileges: %+v", c)
	}
}
