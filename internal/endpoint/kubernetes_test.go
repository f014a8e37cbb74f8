package endpoint

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestKubernetesProbesAskForWhatIsServed looks at the manifest that ships with the
// package.
func TestKubernetesProbesAskForWhatIsServed(t *testing.T) {
	content, err := os.ReadFile("../../debian/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	inet := regexp.MustCompile(`inet = "0\.0\.0\.0:(\d+)"`).FindStringSubmatch(text)
	if inet == nil || !strings.Contains(text, "{name: http, containerPort: "+inet[1]+"}") || !strings.Contains(text, `prometheus.io/port: "`+inet[1]+`"`) {
		t.Errorf("got inet %q, want the port of the container and of the scrape", inet)
	}
	paths := regexp.MustCompile(`httpGet: \{path: (\S+), port: http\}`).FindAllStringSubmatch(text, -1)
	if len(paths) != 3 {
		t.Fatalf("got the probes %q, want those of start, life and readiness", paths)
	}
	h := New(newFake(t), Options{})
	for _, path := range paths {
		// The kubelet asks by the address of the pod.
		if resp := get(t, h, http.MethodGet, path[1], "10.1.2.3:"+inet[1]); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got status %d, want 200", path[1], resp.StatusCode)
		}
	}
}
