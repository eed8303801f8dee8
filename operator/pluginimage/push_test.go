package pluginimage

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPushLogsIn has a registry that lets nobody in say whom it saw. The lab pushes to one that
// takes the image.
func TestPushLogsIn(t *testing.T) {
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, told := r.BasicAuth()
		if told {
			seen = user + ":" + password
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	i, err := Read(makePlugin(t, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	auth := base64.StdEncoding.EncodeToString([]byte("docker:login"))
	if err := os.WriteFile(file, []byte(`{"auths": {"`+host+`": {"auth": "`+auth+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(damaged, []byte(`{`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		login      Login
		seen, says string
	}{
		{Login{File: file}, "docker:login", "--username"},
		{Login{Username: "me", Password: "secret", File: file}, "me:secret", "--username"},
		{Login{File: file + "-none"}, "", "--username"},
		{Login{File: damaged}, "", "docker login"},
	} {
		seen = ""
		_, err := Push(t.Context(), i.Source(), host+"/overlayzfs:1", tt.login, true)
		if err == nil || !strings.Contains(err.Error(), tt.says) || seen != tt.seen {
			t.Errorf("%+v: the registry saw %q: %v", tt.login, seen, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), auth)) {
			t.Errorf("the error has the password: %v", err)
		}
	}
	server.Close()
	if _, err := Push(t.Context(), i.Source(), host+"/overlayzfs:1", Login{File: file}, true); err == nil || !strings.Contains(err.Error(), host) {
		t.Errorf("nobody listens: %v", errors.Unwrap(err))
	}
}
