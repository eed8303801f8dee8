package dockerd

import (
	"archive/tar"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRunProgram runs a program in a container, and leaves nothing, whatever its end.
func TestRunProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(program, []byte("content"), 0o700); err != nil {
		t.Fatal(err)
	}
	for status, says := range map[int]string{0: "", 3: "ended with status 3"} {
		var calls []string
		c := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			calls = append(calls, r.Method+" "+r.URL.String())
			switch {
			case r.Method == http.MethodDelete && len(calls) < 3:
				w.WriteHeader(http.StatusNotFound)
			case strings.HasPrefix(r.URL.Path, "/images/create"):
				archive := tar.NewReader(r.Body)
				header, err := archive.Next()
				if err != nil {
					t.Error(err)
					return
				}
				raw, err := io.ReadAll(archive)
				calls = append(calls, fmt.Sprint(header.Name, " ", header.Mode&0o111 != 0, " ", string(raw), " ", err))
			case strings.HasSuffix(r.URL.Path, "/wait"):
				fmt.Fprintf(w, `{"StatusCode":%d}`, status)
			}
		})
		err := c.RunProgram(t.Context(), program, "--version")
		if (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("status %d: %v", status, err)
		}
		want := []string{
			"DELETE /containers/overlayzfs-setup-proof?force=1&v=1", "DELETE /images/overlayzfs-setup-proof?force=1",
			"POST /images/create?fromSrc=-&repo=overlayzfs-setup-proof", "program true content <nil>",
			"POST /containers/create?name=overlayzfs-setup-proof", "POST /containers/overlayzfs-setup-proof/start", "POST /containers/overlayzfs-setup-proof/wait",
			"DELETE /containers/overlayzfs-setup-proof?force=1&v=1", "DELETE /images/overlayzfs-setup-proof?force=1",
		}
		if !slices.Equal(calls, want) {
			t.Errorf("%q", calls)
		}
	}
}
