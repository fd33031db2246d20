#!/bin/sh
# Makes the certificates of brokers: sh certificates.sh FOLDER HOST[,HOST..]..
#
# FOLDER gets ca.pem and ca-key.pem if there is no authority in it yet, and for each broker a folder called as its first
# HOST, with ca.pem, broker.pem and broker-key.pem. The HOSTs are all names and addresses by which others reach that broker.
# It needs openssl. Keep ca-key.pem where no broker is.
set -eu
umask 077

folder=${1:?"usage: sh certificates.sh FOLDER HOST[,HOST..].."}
shift
mkdir -p "$folder"
cd "$folder"

key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

if [ ! -f ca.pem ]; then
    key ca-key.pem
    openssl req -x509 -new -key ca-key.pem -days 3650 -subj "/CN=Shaddock brokers" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
    chmod 644 ca.pem
fi

for hosts in "$@"; do
    broker=${hosts%%,*}
    names=$(printf '%s\n' "$hosts" | tr , '\n' | sed 's/^\([0-9.]*\|.*:.*\)$/IP:\1/; /^IP:/!s/^/DNS:/' | paste -sd , -)
    mkdir -p "$broker"
    key "$broker/broker-key.pem"
    # A broker is a server to Shaddock's servers, and both to the other brokers.
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" > "$broker/extensions"
    openssl req -new -key "$broker/broker-key.pem" -subj "/CN=$broker" |
        openssl x509 -req -CA ca.pem -CAkey ca-key.pem -days 825 -extfile "$broker/extensions" -out "$broker/broker.pem"
    rm "$broker/extensions"
    cp ca.pem "$broker/ca.pem"
    chmod 644 "$broker/ca.pem" "$broker/broker.pem"
done
