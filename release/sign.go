package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// signatureName names the signature of the checksums.
const signatureName = sumsName + ".sig"

// signatureNamespace is the use that a signature is for, as ssh-keygen -Y names it.
const signatureNamespace = "file"

// sign signs the checksums by an SSH key without a passphrase, if there is one, in the format of
// ssh-keygen -Y sign (PROTOCOL.sshsig of OpenSSH 8.2).
func (r *release) sign(sums string) error {
	if r.key == "" {
		return nil
	}
	raw, err := os.ReadFile(r.key)
	if err != nil {
		return err
	}
	key, err := ssh.ParsePrivateKey(raw)
	if err != nil {
		return fmt.Errorf("%s: %w: pass a private key of OpenSSH without a passphrase", r.key, err)
	}
	signature, err := sshsig.Sign(bytes.NewReader([]byte(sums)), key, sshsig.HashSHA512, signatureNamespace)
	if err != nil {
		return fmt.Errorf("sign %s: %w", sumsName, err)
	}
	return r.writeFile(signatureName, sshsig.Armor(signature))
}
