#!/bin/sh
# Makes the images that the examples run, from Debian packages, and imports them.
#
#   examples/images.sh [NAME…]      busybox, nginx, redis, postgres, shop-app; all when none is named
#
# No registry is asked. Each image gets the name and the manners of the official one (user, data directory,
# environment), so that the compose files run with those just as well. Needs root, apt and `wharfie`
# (in PATH, or WHARFIE=…). File systems are kept in $WHARFIE_IMAGES (target/images) and made anew when this
# script changes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
wharfie=${WHARFIE:-wharfie}
out=${WHARFIE_IMAGES:-$here/../target/images}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# What packages want only for their maintainer scripts, or for parts that no example uses.
unneeded='^(perl|libperl|libfile-|libnumber-|libtext-|debconf|dpkg|tar|usrmerge|adduser|passwd|init-system|sysvinit|lsb-base|libsemanage|libsepol|ssl-cert|openssl|sensible|ucf|postgresql-common|postgresql-client-common|libjson-perl|libllvm|libz3|locales|libc-l10n|netbase|iproute2|libbpf|libelf|libxtables|libmnl)'

# rootfs NAME PACKAGE…: unpacks the packages and what they depend on, with busybox for the rest.
rootfs() {
    name=$1; shift
    root=$out/$name.rootfs
    rm -rf "$root"; mkdir -p "$root" "$out/debs/partial"
    list=$(apt-get -o Dir::State::status=/dev/null --no-install-recommends -y --print-uris install "$@" busybox-static |
        sed -n "s/^'.*' \([^ ]*\) .*/\1/p" | grep -Ev "$unneeded")
    packages=$(printf '%s\n' "$list" | sed 's/_.*//')
    missing=$(for package in $packages; do ls "$out/debs/${package}"_*.deb >/dev/null 2>&1 || echo "$package"; done)
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || (cd "$out/debs" && apt-get -o APT::Sandbox::User=root download -q $missing >/dev/null)
    # Debian's merged /usr, which packages rely on.
    mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
    for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
    for package in $packages; do
        # Over the links: tar follows a link to a directory when told to keep it.
        dpkg-deb --fsys-tarfile "$(ls "$out/debs/${package}"_*.deb | head -n 1)" |
            tar -x -C "$root" --keep-directory-symlink
    done
    rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" "$root/usr/share/info"
    for applet in $("$root/bin/busybox" --list); do
        [ -e "$root/bin/$applet" ] || [ -e "$root/sbin/$applet" ] || ln -s busybox "$root/bin/$applet"
    done
    mkdir -p "$root/etc" "$root/tmp" "$root/run" "$root/var/tmp" "$root/proc" "$root/sys" "$root/dev"
    chmod 1777 "$root/tmp" "$root/var/tmp"
    ln -sfn /run "$root/var/run"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
}

# account ROOT NAME ID HOME
account() {
    printf '%s:x:%s:%s::%s:/bin/sh\n' "$2" "$3" "$3" "$4" >>"$1/etc/passwd"
    printf '%s:x:%s:\n' "$2" "$3" >>"$1/etc/group"
}

pack() {
    tar -C "$out/$1.rootfs" -c --sort=name --numeric-owner -f "$out/$1.tar.part" .
    mv "$out/$1.tar.part" "$out/$1.tar"
    rm -rf "$out/$1.rootfs"
}

make_busybox() {
    rootfs busybox busybox-static
    pack busybox
}

make_nginx() {
    rootfs nginx nginx-light curl ca-certificates
    root=$out/nginx.rootfs
    account "$root" www-data 33 /var/www
    mkdir -p "$root/etc/nginx/conf.d" "$root/usr/share/nginx/html" "$root/var/log/nginx" "$root/var/lib/nginx"
    cat >"$root/etc/nginx/nginx.conf" <<'CONF'
user www-data;
worker_processes auto;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 1024; }
http {
    include mime.types;
    default_type application/octet-stream;
    access_log /dev/stdout;
    sendfile on;
    include /etc/nginx/conf.d/*.conf;
}
CONF
    cat >"$root/etc/nginx/conf.d/default.conf" <<'CONF'
server {
    listen 80;
    location / { root /usr/share/nginx/html; }
}
CONF
    echo '<h1>Welcome to nginx!</h1>' >"$root/usr/share/nginx/html/index.html"
    pack nginx
}

make_redis() {
    rootfs redis redis-server
    account "$out/redis.rootfs" redis 999 /data
    mkdir -p "$out/redis.rootfs/data"
    chown 999:999 "$out/redis.rootfs/data"
    pack redis
}

make_postgres() {
    rootfs postgres postgresql-15
    root=$out/postgres.rootfs
    account "$root" postgres 999 /var/lib/postgresql
    mkdir -p "$root/var/lib/postgresql/data" "$root/var/run/postgresql" "$root/run/postgresql"
    chown -R 999:999 "$root/var/lib/postgresql" "$root/run/postgresql"
    chmod 700 "$root/var/lib/postgresql/data"
    cat >"$root/usr/bin/docker-entrypoint.sh" <<'ENTRY'
#!/bin/sh
# Makes the database when the data directory is new, as the official image does.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=${POSTGRES_PASSWORD:-}
    [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(cat "$POSTGRES_PASSWORD_FILE")
    if [ -z "$password" ]; then
        echo "Error: Database is uninitialized and superuser password is not specified." >&2
        exit 1
    fi
    user=${POSTGRES_USER:-postgres}
    printf '%s\n' "$password" >/tmp/pwfile
    initdb --username="$user" --pwfile=/tmp/pwfile --auth-host=scram-sha-256 --auth-local=trust --no-sync >/dev/null
    rm /tmp/pwfile
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start >/dev/null
    database=${POSTGRES_DB:-$user}
    [ "$database" = postgres ] || createdb --username="$user" "$database"
    pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
    echo 'PostgreSQL init process complete; ready for start up.'
fi
exec "$@"
ENTRY
    chmod 755 "$root/usr/bin/docker-entrypoint.sh"
    pack postgres
}

make_shop_app() {
    rootfs shop-app python3-minimal python3-psycopg2 python3-redis
    mkdir -p "$out/shop-app.rootfs/app"
    cp "$here/shop/app.py" "$out/shop-app.rootfs/app/app.py"
    pack shop-app
}

import() {
    name=$1; tag=$2; shift 2
    "$wharfie" image import "$@" "$out/$name.tar" "$tag"
}

import_busybox() { import busybox busybox:1.35 --change 'CMD ["sh"]'; }
import_nginx() {
    import nginx nginx:1.22 --change 'CMD ["nginx","-g","daemon off;"]' --change 'EXPOSE 80' --change 'STOPSIGNAL SIGQUIT'
}
import_redis() {
    import redis redis:7 --change 'CMD ["redis-server"]' --change 'USER redis' --change 'WORKDIR /data' \
        --change 'VOLUME /data' --change 'EXPOSE 6379'
}
import_postgres() {
    import postgres postgres:15 --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["postgres"]' \
        --change 'USER postgres' --change 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV PGDATA=/var/lib/postgresql/data' --change 'VOLUME /var/lib/postgresql/data' \
        --change 'STOPSIGNAL SIGINT' --change 'EXPOSE 5432'
}
import_shop_app() { import shop-app shop-app:1 --change 'CMD ["python3","/app/app.py"]' --change 'USER nobody' --change 'EXPOSE 8000'; }

[ $# -gt 0 ] || set -- busybox nginx redis postgres shop-app
for name in "$@"; do
    function=$(printf '%s' "$name" | tr - _)
    # Made anew when the recipe has changed.
    [ "$out/$name.tar" -nt "$here/images.sh" ] && [ "$out/$name.tar" -nt "$here/shop/app.py" ] || "make_$function"
    [ "${WHARFIE_IMPORT:-yes}" = no ] || "import_$function"
done
