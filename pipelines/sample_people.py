"""Invented people, companies and places of twelve countries, from which samples are drawn. Pure.

Every telephone prefix, followed by any digits of the stated number of which the first is not 0, is a valid mobile
number for libphonenumber; a test holds them to it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import polars as pl

GIVEN_NAMES = 12
"""How many given names each sex has in each country."""
FAMILY_NAMES = 24
STREETS = 8
TOWNS = 6


@dataclass(frozen=True, slots=True)
class Country:
    """One country: its telephone form, its currency and the names that are usual there."""

    code: str
    name: str
    currency: str
    company_form: str
    phone_prefix: str
    phone_digits: int
    women: str
    men: str
    families: str
    streets: str
    """Separated by commas, as the towns are."""
    towns: str


COUNTRIES: tuple[Country, ...] = (
    Country(
        *("GB", "United Kingdom", "GBP", "Ltd", "+44740", 7),
        "Olivia Amelia Isla Grace Freya Emily Ruth Poppy Harriet Eleanor Phoebe Martha",
        "Oliver George Arthur Noah Harry Alfie Edward Thomas Hugh Callum Rhys Angus",
        "Smith Jones Taylor Brown Wright Walker Hughes Clarke Turner Hill Cooper Ward Morris Bailey Fletcher Barnes "
        "Pearce Marsh Holt Doyle Sutton Webb Lowe Booth",
        "High Street,Station Road,Church Lane,Mill Road,Victoria Street,Park Avenue,Queens Road,The Green",
        "Leeds LS1 4AP,Bristol BS1 5TR,Norwich NR2 1AA,Cardiff CF10 2BQ,Glasgow G2 4JR,London E8 3RL",
    ),
    Country(
        *("FR", "France", "EUR", "SARL", "+3361", 7),
        "Camille Manon Léa Chloé Élise Margaux Jeanne Inès Sylvie Noémie Agathe Solène",
        "Louis Gabriel Hugo Jules Étienne Mathis Rémi Baptiste Antoine Loïc Quentin Pascal",
        "Martin Bernard Dubois Moreau Laurent Simon Lefèvre Roux Fournier Girard Bonnet Lambert Rousseau Vincent "
        "Faure Mercier Blanc Garnier Chevalier Perrin Morin Gauthier Dumont Barbier",
        "rue Victor Hugo,rue de la Gare,avenue Jean Jaurès,rue des Écoles,place du Marché,rue Pasteur,quai de la Loire,"
        "rue Voltaire",
        "69002 Lyon,44000 Nantes,31000 Toulouse,67000 Strasbourg,59000 Lille,75011 Paris",
    ),
    Country(
        *("DE", "Germany", "EUR", "GmbH", "+49151", 8),
        "Anna Lena Marie Johanna Greta Frieda Klara Sabine Heike Jutta Svenja Käthe",
        "Jonas Lukas Felix Paul Matthias Stefan Jürgen Björn Tobias Moritz Emil Konrad",
        "Müller Schmidt Schneider Fischer Weber Becker Hoffmann Schäfer Koch Bauer Richter Klein Wolf Neumann Schwarz "
        "Braun Zimmermann Krüger Hartmann Lange Werner Krause Lehmann Vogt",
        "Hauptstraße,Bahnhofstraße,Gartenweg,Lindenallee,Schulstraße,Am Markt,Goethestraße,Mühlweg",
        "50667 Köln,20095 Hamburg,01067 Dresden,90402 Nürnberg,79098 Freiburg,10115 Berlin",
    ),
    Country(
        *("IT", "Italy", "EUR", "S.r.l.", "+3933", 8),
        "Giulia Sofia Aurora Alice Chiara Francesca Martina Elena Paola Silvia Bianca Lucia",
        "Leonardo Francesco Alessandro Lorenzo Matteo Andrea Davide Simone Riccardo Nicolò Enrico Pietro",
        "Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Bruno Gallo Conti Costa Giordano Mancini "
        "Rizzo Lombardi Moretti Barbieri Fontana Santoro Mariani Rinaldi",
        "via Roma,via Garibaldi,corso Italia,via Mazzini,via Dante,piazza Verdi,via Cavour,viale Europa",
        "20121 Milano,10121 Torino,40121 Bologna,50122 Firenze,80133 Napoli,90133 Palermo",
    ),
    Country(
        *("ES", "Spain", "EUR", "S.L.", "+346", 8),
        "Lucía Martina Paula Carmen Alba Noa Marta Irene Rocío Nuria Pilar Beatriz",
        "Hugo Mateo Pablo Álvaro Diego Javier Iván Sergio Andrés Joaquín Ramón Íñigo",
        "García Fernández López Sánchez Pérez Gómez Ruiz Díaz Moreno Muñoz Alonso Gutiérrez Navarro Torres Ramos Gil "
        "Serrano Molina Castro Ortiz Rubio Marín Sanz Iglesias",
        "calle Mayor,calle Real,avenida de la Constitución,calle del Sol,paseo de Gracia,calle Nueva,plaza de España,"
        "calle San Juan",
        "46001 Valencia,41001 Sevilla,48001 Bilbao,50001 Zaragoza,29001 Málaga,28012 Madrid",
    ),
    Country(
        *("NL", "Netherlands", "EUR", "B.V.", "+3161", 7),
        "Emma Sanne Fleur Lotte Anouk Femke Marieke Roos Noor Saskia Tess Wilma",
        "Daan Sem Bram Thijs Ruben Joost Sander Pieter Maarten Jeroen Willem Gijs",
        "Jansen Bakker Visser Smit Meijer Mulder Bos Vos Peters Hendriks Dekker Brouwer Dijkstra Kok Vermeulen Kuipers "
        "Postma Schouten Verhoeven Koster Prins Huisman Peeters Kuiper",
        "Dorpsstraat,Kerkstraat,Molenweg,Stationsweg,Julianalaan,Schoolstraat,Prinsengracht,Havenkade",
        "3511 LV Utrecht,9711 LH Groningen,5611 EM Eindhoven,6211 CA Maastricht,2312 BK Leiden,1012 JS Amsterdam",
    ),
    Country(
        *("SE", "Sweden", "SEK", "AB", "+4670", 7),
        "Alice Maja Elsa Astrid Saga Ebba Linnéa Ingrid Karin Åsa Birgitta Moa",
        "William Liam Oscar Axel Nils Erik Gustav Anders Göran Håkan Viktor Sven",
        "Andersson Johansson Karlsson Nilsson Eriksson Larsson Olsson Persson Svensson Gustafsson Lindberg Lindström "
        "Bergström Sandberg Forsberg Sjöberg Wallin Engström Danielsson Håkansson Lundin Björk Bergman Holm",
        "Storgatan,Kungsgatan,Drottninggatan,Skolgatan,Parkvägen,Ringvägen,Björkgatan,Hamngatan",
        "411 03 Göteborg,211 22 Malmö,753 10 Uppsala,582 23 Linköping,702 11 Örebro,111 22 Stockholm",
    ),
    Country(
        *("PL", "Poland", "PLN", "sp. z o.o.", "+4851", 7),
        "Zofia Hanna Maja Agnieszka Katarzyna Ewa Magdalena Joanna Beata Grażyna Jolanta Weronika",
        "Antoni Jakub Szymon Piotr Paweł Łukasz Marcin Tomasz Grzegorz Krzysztof Wojciech Michał",
        "Nowak Kowalski Wójcik Kowalczyk Kamiński Lewandowski Zieliński Szymański Dąbrowski Kozłowski Mazur Jankowski "
        "Wojciechowski Kwiatkowski Krawczyk Kaczmarek Piotrowski Grabowski Pawlak Michalak Król Wieczorek Wróbel Stępień",
        "ul. Długa,ul. Polna,ul. Leśna,ul. Kościuszki,ul. Mickiewicza,Rynek,ul. Szkolna,al. Jana Pawła II",
        "31-042 Kraków,80-831 Gdańsk,50-101 Wrocław,61-772 Poznań,20-112 Lublin,00-024 Warszawa",
    ),
    Country(
        *("KE", "Kenya", "KES", "Ltd", "+2547", 8),
        "Wanjiru Akinyi Njeri Achieng Wambui Faith Mercy Nyambura Cherono Halima Esther Zawadi",
        "Kamau Otieno Mwangi Kipchoge Brian Kevin Ochieng Kiprono Juma Samuel Njoroge Baraka",
        "Kariuki Odhiambo Wanjala Kimani Mutua Omondi Kiplagat Chebet Nyaga Muthoni Maina Gitau Ouma Wekesa Kirui "
        "Barasa Njuguna Mutiso Onyango Ruto Karanja Were Kosgei Ndung'u",
        "Moi Avenue,Kenyatta Road,Ngong Road,Oginga Odinga Street,Kimathi Street,Market Lane,Lake Road,Tom Mboya Street",
        "Nairobi 00100,Mombasa 80100,Kisumu 40100,Nakuru 20100,Eldoret 30100,Thika 01000",
    ),
    Country(
        *("NG", "Nigeria", "NGN", "Ltd", "+234803", 7),
        "Ngozi Adaeze Amina Folake Chidinma Blessing Zainab Yetunde Ifeoma Hauwa Temitope Nneka",
        "Emeka Tunde Chinedu Ibrahim Segun Musa Obinna Femi Uche Yusuf Kelechi Babatunde",
        "Okafor Adeyemi Balogun Eze Bello Okonkwo Abubakar Ogunleye Nwosu Adebayo Danjuma Chukwu Lawal Obi Oyelaran "
        "Mohammed Uzoma Afolabi Ekwueme Sule Akande Nnamdi Okoro Olawale",
        "Broad Street,Ahmadu Bello Way,Allen Avenue,Marina Road,Adeola Street,Airport Road,Market Street,Ring Road",
        "Lagos 101241,Abuja 900211,Ibadan 200273,Kano 700213,Enugu 400241,Port Harcourt 500261",
    ),
    Country(
        *("PH", "Philippines", "PHP", "Inc.", "+63917", 7),
        "Maria Angel Althea Jasmine Kristine Liza Marites Rosario Imelda Precious Tala Divina",
        "Juan Jose Mark Angelo Jericho Ramil Rodel Dante Benigno Crisanto Joshua Paolo",
        "Santos Reyes Cruz Bautista Ocampo Garcia Mendoza Aquino Villanueva Dela-Cruz Castillo Ramos Mercado Salazar "
        "Pascual Magsaysay Tolentino Manalo Dizon Soriano Lacson Panganiban Macaraeg Bonifacio",
        "Rizal Street,Bonifacio Avenue,Mabini Street,Quezon Boulevard,Luna Street,Del Pilar Street,Osmeña Street,Burgos Street",
        "Quezon City 1100,Cebu City 6000,Davao City 8000,Iloilo City 5000,Baguio 2600,Manila 1004",
    ),
    Country(
        *("BR", "Brazil", "BRL", "Ltda", "+55119", 8),
        "Ana Beatriz Larissa Júlia Fernanda Letícia Camila Débora Luana Tereza Heloísa Vitória",
        "João Pedro Lucas Gustavo Rafael Thiago Caio Murilo Otávio Renato Vinícius César",
        "Silva Santos Oliveira Souza Lima Pereira Ferreira Costa Rodrigues Almeida Nascimento Carvalho Araújo Ribeiro "
        "Rocha Barbosa Teixeira Cardoso Monteiro Moraes Batista Freitas Vieira Nogueira",
        "Rua das Flores,Avenida Paulista,Rua Sete de Setembro,Rua XV de Novembro,Rua da Praia,Avenida Brasil,"
        "Rua São José,Rua Direita",
        "01310-100 São Paulo,20040-002 Rio de Janeiro,30130-010 Belo Horizonte,80020-310 Curitiba,"
        "90010-150 Porto Alegre,40020-000 Salvador",
    ),
)

_TRADES = (
    "Bakery Logistics Farms Textiles Foods Motors Print Timber Solar Dairy Fisheries Pharma Tiles Coffee Cycles Dental "
    "Optics Metals Garden Design"
)

_LETTERS = str.maketrans({"ł": "l", "Ł": "L", "ß": "ss", "'": "", " ": ""})


def plain_letters(name: str) -> str:
    """Return the name as a mailbox would spell it: lower case, no accents, no apostrophes."""
    folded = unicodedata.normalize("NFKD", name.translate(_LETTERS))
    return folded.encode("ascii", "ignore").decode("ascii").lower()


TRADES = pl.Series(_TRADES.split())
CODES = pl.Series([country.code for country in COUNTRIES])
CURRENCIES = pl.Series([country.currency for country in COUNTRIES])
PHONE_PREFIXES = pl.Series([country.phone_prefix for country in COUNTRIES])
PHONE_DIGITS = [country.phone_digits for country in COUNTRIES]
COMPANY_FORMS = pl.Series([country.company_form for country in COUNTRIES])

# Flat pools, country after country, so that one gather finds a value: country * size + which.
GIVEN = pl.Series([name for country in COUNTRIES for name in (*country.women.split(), *country.men.split())])
FAMILY = pl.Series([name for country in COUNTRIES for name in country.families.split()])
GIVEN_PLAIN = pl.Series([plain_letters(name) for name in GIVEN])
FAMILY_PLAIN = pl.Series([plain_letters(name) for name in FAMILY])
STREET = pl.Series([street for country in COUNTRIES for street in country.streets.split(",")])
TOWN = pl.Series([f"{town}, {country.name}" for country in COUNTRIES for town in country.towns.split(",")])
