package dockerd

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// proofName is the name of the image and the container that RunProgram makes.
const proofName = "overlayzfs-setup-proof"

// runTimeout ends RunProgram on a host that hangs.
const runTimeout = 5 * time.Minute

// RunProgram runs a program in a container of an image that has nothing else, without a
// network, and removes both. No registry is asked. It fails when the program fails. The program
// has to be static.
func (c *Client) RunProgram(ctx context.Context, path string, args ...string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	if err := c.removeProof(ctx); err != nil { // of one that was killed
		return err
	}
	defer func() { err = errors.Join(err, c.removeProof(context.WithoutCancel(ctx))) }()
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeProgram(w, path)) }()
	err = errors.Join(c.post(ctx, "/images/create?fromSrc=-&repo="+proofName, "application/x-tar", r), r.Close())
	if err != nil {
		return err
	}
	body, err := encodeBody(map[string]any{
		"Image": proofName, "Cmd": append([]string{"/program"}, args...), "NetworkDisabled": true,
		"HostConfig": map[string]any{"NetworkMode": "none"},
	})
	if err != nil {
		return err
	}
	if err := c.post(ctx, "/containers/create?name="+proofName, "application/json", body); err != nil {
		return err
	}
	if err := c.post(ctx, "/containers/"+proofName+"/start", "", nil); err != nil {
		return err
	}
	return c.waitProof(ctx)
}

// waitProof waits for the container's end, and fails when its program failed.
func (c *Client) waitProof(ctx context.Context) error {
	answer, err := c.do(ctx, http.MethodPost, "/containers/"+proofName+"/wait", "", nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	var end struct{ StatusCode int }
	if err := json.NewDecoder(io.LimitReader(answer, maxAnswer)).Decode(&end); err != nil {
		return err
	}
	if end.StatusCode != 0 {
		return fault.New(fault.Unsupported, "a container started, and its program ended with status %d", end.StatusCode)
	}
	return nil
}

// removeProof removes the container and the image, where they are.
func (c *Client) removeProof(ctx context.Context) (err error) {
	for _, path := range []string{"/containers/" + proofName + "?force=1&v=1", "/images/" + proofName + "?force=1"} {
		answer, removeErr := c.do(ctx, http.MethodDelete, path, "", nil)
		if removeErr == nil {
			removeErr = answer.Close()
		}
		if !errors.Is(removeErr, fault.NotFound) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}

// writeProgram writes a tar that has a program alone.
func writeProgram(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "program", Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, f); err != nil {
		return err
	}
	return archive.Close()
}
