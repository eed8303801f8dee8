package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/docker/docker/pkg/stdcopy"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// Container is what the engine says of a container.
type Container struct {
	ID    string `json:"Id"`
	State struct {
		Pid    int
		Status string
	}
	GraphDriver struct{ Data map[string]string }
}

// InspectContainer asks the engine for a container.
func (e *Engine) InspectContainer(name string) (c Container, err error) {
	err = e.decode(http.MethodGet, "/containers/"+name+"/json", nil, &c)
	return c, err
}

// ListContainers returns the IDs of all containers, those that do not run too.
func (e *Engine) ListContainers(t testing.TB) (ids []string) {
	t.Helper()
	var found []struct {
		ID string `json:"Id"`
	}
	e.Ask(t, "/containers/json?all=1", &found)
	for _, c := range found {
		ids = append(ids, c.ID)
	}
	return ids
}

// Exec runs a program in a container, as `docker exec` does, without a docker command. It
// returns the program's output, and an error if the program fails.
func (e *Engine) Exec(container string, command ...string) (string, error) {
	var made struct {
		ID string `json:"Id"`
	}
	wants := map[string]any{"AttachStdout": true, "AttachStderr": true, "Cmd": command}
	if err := e.decode(http.MethodPost, "/containers/"+container+"/exec", wants, &made); err != nil {
		return "", err
	}
	out, err := e.call(context.Background(), http.MethodPost, "/exec/"+made.ID+"/start", map[string]any{"Detach": false})
	if err != nil {
		return "", err
	}
	defer out.Close()
	var said bytes.Buffer
	if _, err := stdcopy.StdCopy(&said, &said, out); err != nil {
		return "", err
	}
	text := strings.TrimSpace(said.String())
	code, err := e.awaitExit(made.ID)
	if err == nil && code != 0 {
		err = fmt.Errorf("exec in %s of %q: exit status %d\n%s", container, command, code, text)
	}
	return text, err
}

// awaitExit returns the exit code of a program that ran by Exec. Its output can end before the
// engine knows the code.
func (e *Engine) awaitExit(id string) (code int, err error) {
	err = inguest.Poll(context.Background(), func() error {
		var program struct {
			Running  bool
			ExitCode *int
		}
		if err := e.decode(http.MethodGet, "/exec/"+id+"/json", nil, &program); err != nil {
			return err
		}
		if program.Running || program.ExitCode == nil {
			return fmt.Errorf("the engine does not know yet how exec %s ended", id)
		}
		code = *program.ExitCode
		return nil
	})
	return code, err
}

// MustExec is Exec for a program that has to succeed.
func (e *Engine) MustExec(t testing.TB, container string, command ...string) string {
	t.Helper()
	out, err := e.Exec(container, command...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// CreateContainer creates a container without a network, which runs the image's command.
func (e *Engine) CreateContainer(t testing.TB, name, image string) {
	t.Helper()
	wants := map[string]any{"Image": image, "HostConfig": map[string]any{"NetworkMode": "none"}}
	e.send(t, http.MethodPost, "/containers/create?name="+name, wants)
}

// CopyInto unpacks a tar into a directory of a container, as `docker cp` does.
func (e *Engine) CopyInto(t testing.TB, container, dir string, content []byte) {
	t.Helper()
	e.send(t, http.MethodPut, "/containers/"+container+"/archive?path="+url.QueryEscape(dir), content)
}

// StartContainers starts stopped containers, as `docker start` does.
func (e *Engine) StartContainers(t testing.TB, names ...string) {
	t.Helper()
	e.post(t, "/start", names)
}

// StopContainers stops containers, as `docker stop` does.
func (e *Engine) StopContainers(t testing.TB, names ...string) {
	t.Helper()
	e.post(t, "/stop", names)
}

// RemoveContainers kills and removes containers, as `docker rm -f` does: one that is not there is
// no error.
func (e *Engine) RemoveContainers(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		answer, err := e.call(context.Background(), http.MethodDelete, "/containers/"+name+"?force=1", nil)
		if err == nil {
			err = answer.Close()
		}
		if err != nil && !strings.Contains(err.Error(), "No such container") {
			t.Fatal(err)
		}
	}
}

// post sends a request for each container.
func (e *Engine) post(t testing.TB, action string, names []string) {
	t.Helper()
	for _, name := range names {
		e.send(t, http.MethodPost, "/containers/"+name+action, nil)
	}
}
