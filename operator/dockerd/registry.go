package dockerd

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// The media types of a plugin's image (plugin/registry.go of moby).
const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	configType   = "application/vnd.docker.plugin.v1+json"
	layerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// repository is the name under which the image is served.
const repository = "overlayzfs"

// image is a plugin as a registry has it: its blobs by digest, and the manifest among them.
type image struct {
	blobs    map[digest.Digest][]byte
	manifest digest.Digest
}

// descriptor points to a blob in a manifest.
type descriptor struct {
	MediaType string        `json:"mediaType"`
	Size      int           `json:"size"`
	Digest    digest.Digest `json:"digest"`
}

// newImage makes an image of a plugin's directory.
func newImage(dir string) (*image, error) {
	layer := &bytes.Buffer{}
	packed := gzip.NewWriter(layer)
	plain := digest.Canonical.Digester()
	err := writeTar(io.MultiWriter(packed, plain.Hash()), filepath.Join(dir, "rootfs"))
	if err := errors.Join(err, packed.Close()); err != nil {
		return nil, fmt.Errorf("read the plugin in %s: %w", dir, err)
	}
	config, err := readConfig(dir, plain.Digest())
	if err != nil {
		return nil, err
	}
	i := &image{blobs: map[digest.Digest][]byte{}}
	manifest, err := json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{2, manifestType, i.add(configType, config), []descriptor{i.add(layerType, layer.Bytes())}})
	i.manifest = i.add(manifestType, manifest).Digest
	return i, err
}

// readConfig returns a plugin's configuration with the digest of its root file system.
func readConfig(dir string, rootfs digest.Digest) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, configName), err)
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": []digest.Digest{rootfs}}
	return json.Marshal(config)
}

func (i *image) add(mediaType string, blob []byte) descriptor {
	d := descriptor{mediaType, len(blob), digest.FromBytes(blob)}
	i.blobs[d.Digest] = blob
	return d
}

// serve serves the image on a free port of the loopback interface, where dockerd asks for no
// certificate, and returns its reference. Callers call end.
func (i *image) serve() (reference string, end func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(i.answer), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // it ends with Close
	}()
	end = func() {
		_ = server.Close() // nobody needs it any more
		<-done
	}
	return l.Addr().String() + "/" + repository + ":upgrade", end, nil
}

// answer answers what dockerd asks a registry for a pull (distribution's API, version 2).
func (i *image) answer(w http.ResponseWriter, r *http.Request) {
	const manifests, blobs = "/v2/" + repository + "/manifests/", "/v2/" + repository + "/blobs/"
	wanted, mediaType := digest.Digest(""), "application/octet-stream"
	switch path := r.URL.Path; {
	case path == "/v2/":
		w.WriteHeader(http.StatusOK)
		return
	case strings.HasPrefix(path, manifests):
		wanted, mediaType = i.manifest, manifestType
	case strings.HasPrefix(path, blobs):
		wanted = digest.Digest(strings.TrimPrefix(path, blobs))
	}
	blob, there := i.blobs[wanted]
	if !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", wanted.String())
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}
